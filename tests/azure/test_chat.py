"""The whole way by words alone: sentence, plan, yes, live loss, result, download, deployment, teardown, and nothing left."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agent.compose import build_workshop
from agent.door import Door
from agent.events import ToolEnded
from agent.workshop import Workshop
from policies.people import Caller
from tests.azure.cloud import Cloud
from tests.azure.test_end_to_end import LIMIT_S, door, report_of, tail

ME = Caller("owner", "web", "link", session="s1")
THREAD = "thread-of-a-chat"
__all__ = ["door"]

pytestmark = [pytest.mark.engine, pytest.mark.slow]


@pytest.fixture
async def workshop(door: Door) -> AsyncIterator[Workshop]:
    """The conversation, its loops running, with the built-in assistant."""
    made = build_workshop(door)
    made._look_s = made._sweep_s = 0.2  # the loops of a test need no pauses
    await made.start()
    yield made
    await made.close()


async def say(workshop: Workshop, text: str, tool: str) -> ToolEnded:
    """One turn, which must come to the call of a tool; its end, also when a person has to say yes first."""
    ended = [event async for event in workshop.say(THREAD, text, ME) if isinstance(event, ToolEnded)]
    assert ended and ended[-1].tool == tool, (text, ended)
    if ended[-1].status != "waiting":
        assert ended[-1].status == "done", (text, ended[-1])
        return ended[-1]
    (card,) = workshop.pending(THREAD)
    assert card.tool == tool
    decided = await workshop.decide(card.id, "approve", ME)
    answer = decided.answer
    assert answer is not None and answer.status == "done", (text, decided.message, answer)
    return ToolEnded(THREAD, "", answer.call_id, tool, "done", answer.result)


async def until(wanted: Callable[[], bool], what: str) -> None:
    """Wait for what the workshop's own loops bring."""
    async with asyncio.timeout(LIMIT_S):
        while not wanted():  # noqa: ASYNC110 - what the loops bring has no event of its own
            await asyncio.sleep(0.1)
    assert wanted(), what


async def test_a_sentence_is_enough(workshop: Workshop, cloud: Cloud, tmp_path: Path):
    toolbox: Any = workshop.door.toolbox
    model = toolbox.catalogue.add_folder(tmp_path / "tiny", "owner", "tiny").id
    looked = await say(workshop, "what would you create in azure?", "prepare_cloud")
    assert looked.result["resources"] and not cloud.bodies("PUT", "")
    await say(workshop, "prepare the cloud", "prepare_cloud")
    priced = await say(workshop, f"what would it cost on azure to train {model} on tickets.jsonl on the cpu?", "estimate_cost")
    assert priced.result["places"], priced.result

    started = await say(workshop, f"fine-tune {model} on tickets.jsonl with lora for 12 steps on azure on the cpu", "start_finetune")
    run_id = str(started.result["run_id"])
    losses: list[float] = []

    def finished() -> bool:
        facts = toolbox.run_view(run_id).as_json()
        assert facts["state"] in ("queued", "running", "finished"), (facts["state"], facts["reason"], tail(cloud))
        if isinstance(facts["loss"], float):
            losses.append(facts["loss"])
        return facts["state"] == "finished"

    await until(finished, "the run")
    assert losses and len(cloud.executions) == 1
    status = await say(workshop, "how is the run?", "run_status")
    assert status.result["state"] == "finished" and "Azure" in str(status.result["where"])
    logged = await say(workshop, "show me the last 5 lines of the log on azure", "tail_logs")
    assert logged.result["source"] == "run" and len(logged.result["lines"]) == 5  # type: ignore[arg-type]
    orphans = await say(workshop, "what is running on azure that nobody knows?", "list_orphans")
    assert orphans.result == {"orphans": [], "expired": []}
    fetched = await say(workshop, "fetch the results", "fetch_results")
    assert fetched.result["verified"] is True

    deployed = await say(workshop, "deploy it on azure for 127.0.0.1 for 1 hour", "deploy_inference")
    ident = str(deployed.result["deployment_id"])
    await until(lambda: toolbox.deploying.store.get(ident).state.value == "running", "the deployment")
    answered = await say(workshop, "ask the deployment: Ticket 3: the printer is stuck", "ask_model")
    assert answered.result["answers"], answered
    await say(workshop, "stop the deployment on azure", "stop_deployment")

    group = toolbox.cloud.prepared.get().group
    wanted = [event async for event in workshop.say(THREAD, "tear down the cloud", ME) if isinstance(event, ToolEnded)]
    assert wanted[-1].status == "failed" and group in wanted[-1].remedy, "its name must be typed first"
    gone = await say(workshop, group, "teardown_cloud")
    assert gone.result["state"] in ("gone", "deleted", "done"), gone.result
    assert not [each for each in cloud.world.resources if group.lower() in each], "nothing is left"
    await until(lambda: report_of(workshop.door)["reserved"] == "0.00", "the ledger")
    assert workshop.door.gateway.alarm == ""
