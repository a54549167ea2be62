"""A turn, an approval, a notice: what faces see of them, and what survives."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator

import pytest
from langchain_core.messages import AIMessage

from agent.events import (
    ApprovalChanged,
    ApprovalWanted,
    Choices,
    Event,
    Notice,
    Problem,
    RunShown,
    TextDelta,
    TextDone,
    ToolEnded,
    ToolProgress,
    ToolStarted,
    TurnEnded,
)
from policies.people import Caller
from policies.tool import Result, ToolFailed
from tests.agent.home import CANARY, ME, Home, News, View, only, said
from tests.agent.scripted import Scripted, after_words, call

SENTENCE = "Fine-tune the bundled model on samples/helpdesk.jsonl"


async def until(events: AsyncIterator[Event], kind: type) -> list[Event]:
    """Listen until an event of a kind comes; a test that waits for nothing ends in ten seconds."""
    heard: list[Event] = []
    async with asyncio.timeout(10):
        async for event in events:
            heard.append(event)
            if isinstance(event, kind):
                return heard
    raise AssertionError(heard)


async def test_a_turn_streams_words_calls_a_tool_and_ends(home: Home) -> None:
    async with home.workshop(Scripted(script=after_words(call("look", text="I look.")))) as shop:
        events = await said(shop, "look")
    order = [type(event) for event in events if not isinstance(event, TextDelta | ToolProgress)]
    assert order == [TextDone, ToolStarted, ToolEnded, TextDone, TurnEnded]
    assert [event.text for event in only(events, TextDone)] == ["I look. ", "It is done. "]
    assert only(events, ToolEnded)[0].result == {"text": CANARY}
    assert [(event.text, event.fraction) for event in only(events, ToolProgress)] == [("half way", 0.5)]


async def test_a_model_that_does_not_stream_is_heard_all_the_same(home: Home) -> None:
    async with home.workshop(Scripted(script=after_words(AIMessage("Hello there.")), streams=False)) as shop:
        events = await said(shop, "hi")
    assert [event.text for event in only(events, TextDelta)] == ["Hello there."]
    assert [event.text for event in only(events, TextDone)] == ["Hello there."]


async def test_faces_see_a_result_that_the_conversation_never_holds(home: Home) -> None:
    async with home.workshop(Scripted(script=after_words(call("look")))) as shop:
        await said(shop, "look")
    assert CANARY.encode() not in (home.path / "memory.sqlite").read_bytes()


async def test_one_sentence_leads_through_the_checks_to_a_card(home: Home) -> None:
    async with home.workshop() as shop:
        events = await said(shop, SENTENCE)
        assert [event.tool for event in only(events, ToolStarted)] == [
            "inspect_hardware",
            "validate_dataset",
            "estimate_cost",
            "start_finetune",
        ]
        assert len(only(events, ApprovalWanted)) == 1
        assert home.calls("start_finetune") == 0
        assert [view.tool for view in shop.pending("t1")] == ["start_finetune"]


async def test_a_plan_stops_at_the_first_step_that_fails(home: Home) -> None:
    home.hands.small["validate_dataset"].deed = _no_data
    async with home.workshop() as shop:
        events = await said(shop, SENTENCE)
    assert [event.status for event in only(events, ToolEnded)] == ["done", "failed"]
    assert "Look elsewhere." in only(events, TextDone)[-1].text
    assert not only(events, ApprovalWanted)


async def test_words_decide_nothing_while_a_card_waits(home: Home) -> None:
    async with home.workshop() as shop:
        await said(shop, SENTENCE)
        for word in ("yes", "approve it", "ok go ahead", "👍"):
            events = await said(shop, word)
            assert "Approve or Deny" in only(events, TextDone)[-1].text
        assert home.calls("start_finetune") == 0
        assert len(shop.pending("t1")) == 1


async def test_a_yes_performs_once_and_the_brain_goes_on(home: Home) -> None:
    async with home.workshop() as shop:
        await said(shop, SENTENCE)
        ears = shop.listen("t1")
        listening = asyncio.create_task(until(ears, TurnEnded))
        await asyncio.sleep(0)
        decision = await shop.decide(shop.pending("t1")[0].id, "approve", ME)
        assert decision.ok and decision.answer is not None and decision.answer.status == "done"
        heard = await listening
        again = await shop.decide(decision.approval.id, "approve", ME)
    assert home.calls("start_finetune") == 1
    assert not again.ok
    assert [event.run_id for event in only(heard, RunShown)] == ["0123456789"]
    assert only(heard, ApprovalChanged)[-1].approval.status == "consumed"
    assert "approved start_finetune" in only(heard, Notice)[0].text
    assert only(heard, TextDone)[-1].text.startswith("Run 0123456789 has started")


async def test_a_no_does_nothing_and_is_told(home: Home) -> None:
    async with home.workshop() as shop:
        await said(shop, SENTENCE)
        listening = asyncio.create_task(until(shop.listen("t1"), TurnEnded))
        await asyncio.sleep(0)
        await shop.decide(shop.pending("t1")[0].id, "deny", ME, "too long")
        heard = await listening
    assert home.calls("start_finetune") == 0
    assert "denied" in only(heard, Notice)[0].text


async def test_forget_it_withdraws_the_waiting_proposal(home: Home) -> None:
    async with home.workshop() as shop:
        await said(shop, SENTENCE)
        events = await said(shop, "forget it")
        assert only(events, ApprovalChanged)[-1].approval.status == "withdrawn"
        assert not shop.pending("t1")


async def test_a_changed_setting_replaces_the_waiting_plan(home: Home) -> None:
    async with home.workshop() as shop:
        await said(shop, SENTENCE)
        first = shop.pending("t1")[0].id
        events = await said(shop, "make it 5 epochs instead")
        assert only(events, ToolStarted)[0].args["epochs"] == 5
        assert [view.id for view in shop.pending("t1")] != [first]
        assert len(shop.pending("t1")) == 1


async def test_a_restart_keeps_the_conversation_and_what_waits(home: Home) -> None:
    async with home.workshop() as shop:
        await said(shop, SENTENCE)
    async with home.workshop() as shop:
        assert len(shop.pending("t1")) == 1
        assert "waits on its card" in only(await said(shop, "yes"), TextDone)[-1].text
        await shop.decide(shop.pending("t1")[0].id, "approve", ME)
    assert home.calls("start_finetune") == 1


async def test_a_runs_end_is_told_even_when_nobody_listened(home: Home) -> None:
    async with home.workshop() as shop:
        await said(shop, "hello")
        home.hands.news.append(News())
        heard = await until(shop.listen("t1"), TextDone)
        assert only(heard, Notice)[0].run_id == "0123456789"
        assert "baseline 0%, tuned 80%" in only(heard, TextDone)[0].text


async def test_many_notices_make_one_turn(home: Home) -> None:
    home.hands.news += [News(), News("abcdefghjk"), News("zzzzzzzzz1")]
    async with home.workshop(Scripted(script=after_words())) as shop:
        heard = await until(shop.listen("t1"), TurnEnded)
    assert len(only(heard, Notice)) == 3
    assert [event.text for event in only(heard, TextDone)] == ["I heard: run. "]


async def test_a_listener_with_another_ear_hears_the_turn(home: Home) -> None:
    async with home.workshop() as shop:
        other = asyncio.create_task(until(shop.listen("t1", "tab-2"), TurnEnded))
        own = shop.listen("t1", "tab-1")
        waiting = asyncio.ensure_future(anext(own))
        await asyncio.sleep(0)
        await said(shop, "hello", ear="tab-1")
        assert only(await other, TextDone)
        assert not waiting.done()
        waiting.cancel()


async def test_a_typed_secret_is_refused_and_kept_nowhere(home: Home) -> None:
    token = "hf_" + "aB3dE5gH7jK9mN1pQ3sT5vX7zA9cE1gH3j"
    async with home.workshop() as shop:
        events = await said(shop, f"my token is {token}, use it")
        assert "secret" in only(events, Problem)[0].text
        assert "python -m ui secret set" in only(events, Problem)[0].remedy
        assert token not in str(events)
        await said(shop, "hello")
    for file in home.path.rglob("*"):
        assert not file.is_file() or token.encode() not in file.read_bytes(), file


@pytest.mark.parametrize("text", ["x" * 32_001, "   "], ids=["too long", "empty"])
async def test_a_message_that_cannot_be_said_is_refused_before_the_graph(home: Home, text: str) -> None:
    async with home.workshop() as shop:
        events = await said(shop, text)
    assert [type(event) for event in events] == [Problem, TurnEnded]


async def test_a_long_message_is_answered_in_time(home: Home) -> None:
    async with home.workshop() as shop, asyncio.timeout(5):
        assert only(await said(shop, "a.b/c-" * 5_000), TextDone)


async def test_nonsense_is_answered_with_choices_that_can_be_pressed(home: Home) -> None:
    async with home.workshop() as shop:
        choices = only(await said(shop, "colourless green ideas"), Choices)[0]
        assert len(choices.options) == 3
        events = await said(shop, "1")
    assert only(events, ToolStarted)[0].tool == "inspect_hardware"


async def test_turns_on_one_thread_wait_for_each_other(home: Home) -> None:
    async with home.workshop() as shop:
        one, two = await asyncio.gather(said(shop, "hello"), said(shop, "what can this machine do?"))
    assert isinstance(one[-1], TurnEnded) and isinstance(two[-1], TurnEnded)
    assert len({event.turn for event in only(one, TextDelta | TextDone | TurnEnded)}) == 1


async def test_leaving_a_turn_early_gives_the_thread_back(home: Home) -> None:
    async with home.workshop() as shop:
        turn = shop.say("t1", SENTENCE, ME)
        await anext(turn)
        await turn.aclose()  # pyright: ignore[reportAttributeAccessIssue]
        async with asyncio.timeout(10):
            assert only(await said(shop, "hello"), TextDone)


async def test_the_memory_stays_short(home: Home) -> None:
    async with home.workshop() as shop:
        for _ in range(3):
            await said(shop, "hello")
    with sqlite3.connect(home.path / "memory.sqlite") as memory:
        assert memory.execute("SELECT count(*) FROM checkpoints").fetchone() == (1,)


async def test_a_forgotten_thread_leaves_no_words(home: Home) -> None:
    async with home.workshop() as shop:
        await said(shop, f"{SENTENCE} please, marmalade")
        await shop.forget("t1", ME)
        assert not shop.pending("t1")
    with sqlite3.connect(home.path / "memory.sqlite") as memory:
        assert memory.execute("SELECT count(*) FROM checkpoints").fetchone() == (0,)


async def test_watching_ends_with_the_run_and_hides_other_peoples(home: Home) -> None:
    async with home.workshop() as shop:
        home.hands.views["0123456789"] = View(state="finished", step=2)
        shown = [each async for each in shop.watch("0123456789", ME)]
        assert [each["kind"] for each in shown] == ["step", "step", "view"]
        assert shown[-1]["offset"] == 2 and shown[-1]["view"]["state"] == "finished"
        chart = [each async for each in shop.watch("0123456789", ME, None)]
        assert [each["kind"] for each in chart] == ["curves", "step", "view"] and chart[0]["train"] == [(1, 3.0)]
        assert (await shop.follow_log("0123456789", ME)).lines == ("step 1",)
        home.people.add("ann", "Ann", "member")
        home.people.add("aud", "Aud", "auditor")
        ann = Caller("ann", "web")
        assert shop.run("foreign000", ann) is None and shop.run("0123456789", ann) is None
        assert all(shop.run("foreign000", Caller(who, "web")) is not None for who in ("bob", "owner", "aud"))
        with pytest.raises(ToolFailed, match="no run of yours"):
            await anext(aiter(shop.watch("foreign000", ann)))
        for look in (shop.log, shop.follow_log):
            with pytest.raises(ToolFailed):
                await look("foreign000", ann)
        assert await shop.report("foreign000", ann) is None and await shop.report("nonsense", Caller("owner", "web")) is None
        assert all([await shop.report("foreign000", Caller(who, "web")) for who in ("bob", "owner", "aud")])
        assert (await shop.log("0123456789", ME)).lines == ("step 1",)


async def test_links_open_once(home: Home) -> None:
    async with home.workshop() as shop:
        token = shop.make_link()
        assert shop.use_link(token) == "owner"
        assert shop.use_link(token) is None
        assert shop.use_link("made-up") is None
        shop.revoke("h1")
        assert shop.is_revoked("h1") and not shop.is_revoked("h2")


async def test_the_badge_and_the_doctor_say_who_thinks_and_what_is_missing(home: Home) -> None:
    async with home.workshop() as shop:
        assert shop.badge().solo
        facts, asked = await shop.doctor(), await shop.doctor(cloud=True)
    assert "Run `make azure`." in str(asked["problems"]) and "azure" not in str(facts["problems"])
    assert facts["brain"] == "test"
    missing = {"what": "The training environment .engine-cpu: It has not been made. It needs 1.8 GB.",
               "remedy": "Run `LUTHIER_ACCELERATOR=cpu make run`."}
    assert missing in facts["problems"] and facts["environments"] == [
        ".engine-cpu: not there, needs 1.8 GB: `LUTHIER_ACCELERATOR=cpu make run` makes it"]
    assert facts["policy"]["source"].endswith("policies") and len(facts["policy"]["hash"]) == 64 and facts["policy"]["alarm"] == ""
    assert facts["record"]["records"] >= 1 and facts["record"]["key_id"]


def _no_data(args: object, call: object) -> Result:
    raise ToolFailed("No dataset", "there is no such file.", "Look elsewhere.")
