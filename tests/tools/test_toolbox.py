"""The toolbox with the real engine: one run through every fate, on the tiny model, through the real gateway."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from policies.book import Book
from policies.gateway import Gateway
from policies.people import Caller, People
from policies.policy import Policy
from policies.verdict import Answer
from tests.tools.fakes_runs import ROOT, wait_until
from tools.places import Places
from tools.runs.reconcile import RunNews
from tools.toolbox import Toolbox, build_toolbox

OWNER = Caller("owner", "cli", "peer uid", thread="thread-1")
SYSTEM = "You sort help desk tickets."
STEPS = 40
WORDS = ["printer", "password", "network", "laptop", "screen", "email", "badge", "keyboard", "router", "monitor"]


class Home:
    """A home with the tiny model as the bundled one, a dataset of its own, and the gateway in front of its toolbox."""

    def __init__(self, folder: Path) -> None:
        self.places = Places(ROOT, folder / "home", bundled=folder / "bundled")
        self.book = Book.open(self.places.home / "book.sqlite")
        self.toolbox: Toolbox = build_toolbox(self.places, self.book, Policy.load)
        people = People(self.book)
        self.gateway = Gateway.open(
            home=self.places.home, tools=self.toolbox.tools, book=self.book, people=people, defaults=self.toolbox.defaults
        )

    def call(self, tool: str, caller: Caller = OWNER, **args: Any) -> Answer:
        """Through the door, saying yes where it asks."""
        return asyncio.run(self._call(tool, args, caller))

    async def _call(self, tool: str, args: Mapping[str, Any], caller: Caller) -> Answer:
        answer = await self.gateway.call(tool, args, caller)
        if answer.approval is None:
            return answer
        decision = await self.gateway.decide(answer.approval.id, "approve", OWNER)
        assert decision.answer is not None, decision.message
        return decision.answer

    def close(self) -> None:
        """As a server that ends in order."""
        self.toolbox.close()
        self.book.close()


def make_home(folder: Path) -> None:
    """The tiny model and 60 rows, 12 of them held out."""
    command = [str(Places(ROOT, folder).engine_python), str(ROOT / "tests" / "tiny_model.py"), str(folder / "bundled" / "model")]
    subprocess.run(command, check=True, capture_output=True, timeout=300, env={"PATH": os.environ["PATH"]})
    rows = []
    for n in range(60):
        word, other = WORDS[n % 10], WORDS[(n // 10 + n + 3) % 10]
        asked = f"Ticket {n}: my {word} and the {other} on floor {n // 3} do not work since {n + 2} o'clock, please look at case {n * 37}."
        said = (("system", SYSTEM), ("user", asked), ("assistant", f"category: {word}"))
        rows.append({"messages": [{"role": r, "content": c} for r, c in said], "split": "test" if n % 5 == 0 else "train"})
    (folder / "home" / "data").mkdir(parents=True)
    (folder / "home" / "data" / "tickets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


SERVER = """
import signal, sys
from pathlib import Path
from tests.tools.test_toolbox import STEPS, Home
home = Home(Path(sys.argv[1]))
answer = home.call("start_finetune", model="bundled", dataset="data/tickets.jsonl", max_steps=STEPS, name="the one run")
print(answer.result.get("run_id") or answer.reason, flush=True)
signal.pause()
"""


@dataclass
class Story:
    """What was seen while the run went through its fates."""

    home: Home
    run: str
    news: list[RunNews] = field(default_factory=list)
    seen: dict[str, Any] = field(default_factory=dict)

    def until(self, state: str) -> None:
        """Reconcile until the run is in a state."""

        def there() -> bool:
            self.news += self.home.toolbox.reconcile()
            return self.view()["state"] == state

        wait_until(there, f"{state}; {self.view()}", timeout_s=240)

    def view(self) -> dict[str, Any]:
        view = self.home.toolbox.run_view(self.run)
        assert view is not None
        return view.as_json()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Started by a server that is killed, stopped by a person, resumed, finished."""
    if not Places(ROOT, ROOT).engine_python.exists():
        assert "CI" not in os.environ, "the engine's environment is missing: make test installs it"
        pytest.skip("no .engine-cpu here; `make test` installs it")
    folder = tmp_path_factory.mktemp("toolbox")
    make_home(folder)
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    run = server.stdout.readline().strip()
    server.kill()
    server.wait()
    server.stdout.close()
    home = Home(folder)
    try:
        story = Story(home, run)
        story.until("running")
        story.seen["after the kill"] = story.view()
        wait_until(lambda: story.view()["step"] >= 2, "the second step", timeout_s=240)
        elsewhere = replace(OWNER, thread="thread-2")
        story.seen["second"] = home.call("start_finetune", elsewhere, model="bundled", dataset="data/tickets.jsonl")
        second = str(story.seen["second"].result["run_id"])
        story.seen["waits"] = home.call("run_status", run_id=second)
        story.seen["leaves"] = home.call("cancel_run", run_id=second)
        story.seen["asked early"] = home.call("ask_model", prompt="q")
        story.seen["cancel"] = home.call("cancel_run")
        story.until("cancelled")
        story.seen["cancelled"] = story.view()
        story.seen["resume"] = home.call("resume_run")
        story.until("finished")
        yield story
    finally:
        home.close()


pytestmark = [pytest.mark.engine, pytest.mark.slow]


def test_the_run_goes_on_after_its_server_was_killed(story: Story) -> None:
    assert story.seen["after the kill"]["state"] == "running"


def test_a_second_run_waits_for_its_turn_says_its_place_and_leaves_when_it_is_cancelled(story: Story) -> None:
    assert story.seen["second"].result["state"] == "queued" and story.seen["second"].result["waits"] is True
    assert (story.seen["waits"].result["state"], story.seen["waits"].result["place"]) == ("queued", 1)
    assert story.seen["leaves"].result["state"] == "cancelled"


def test_a_run_that_still_trains_does_not_answer_and_nobody_answers_for_it(story: Story) -> None:
    assert story.seen["asked early"].status == "failed" and "no served files yet" in story.seen["asked early"].reason


def test_the_stop_keeps_a_checkpoint_and_says_whose_it_was(story: Story) -> None:
    assert story.seen["cancel"].result["stopping"] is True
    assert story.seen["cancelled"]["step"] < STEPS and "owner" in story.seen["cancelled"]["reason"]


def test_the_resumed_run_goes_on_from_its_checkpoint_to_the_end(story: Story) -> None:
    assert story.seen["resume"].result["attempt"] == 2
    events, offset = [], 0
    while (more := story.home.toolbox.watch(story.run, offset))[0]:
        events += more[0]
        offset = more[1]
    steps = [event["step"] for event in events if event["kind"] == "step"]
    assert steps[-1] == STEPS and steps == sorted(set(steps)), "each step was trained once"
    assert [event["outcome"] for event in events if event["kind"] == "end"] == ["cancelled", "finished"]


def test_every_change_was_told_once_and_in_order(story: Story) -> None:
    mine = [news for news in story.news if news.run_id == story.run]
    told = [news.to_state for news in mine]
    assert [state for state in told if state != "queued"] == ["running", "cancelled", "running", "finished"]
    assert all(news.thread == "thread-1" and news.owner == "owner" for news in mine)
    assert "the one run" in mine[-1].text and "the one run" not in json.dumps(dict(mine[-1].for_brain))
    assert [(news.thread, news.to_state) for news in story.news if news not in mine] == [("thread-2", "cancelled")]


def test_the_view_has_all_four_scores_and_the_memory_beside_its_estimate(story: Story) -> None:
    view = story.view()
    assert set(view["scores"]) == {"baseline", "tuned", "base_served", "exported"} and view["served"] is True
    assert view["scores"]["tuned"]["loss"] < view["scores"]["baseline"]["loss"]
    assert 0 < view["peak_memory_bytes"] < 3 * view["predicted_memory_bytes"]
    assert (view["phase"], view["step"], view["eta_s"], view["heartbeat_age_s"]) == ("done", STEPS, None, None)


def test_the_settings_were_those_of_the_approved_card(story: Story) -> None:
    row = story.home.toolbox.store.wanted(story.run)
    settings = row.plan["settings"]
    assert isinstance(settings, dict) and all(row.spec[k] == settings[k] for k in ("threads", "batch_size", "max_length", "learning_rate"))
    assert row.spec["max_steps"] == STEPS == row.plan["steps"]


def test_base_and_tuned_answer_at_the_same_precision_and_the_same_question_gets_the_same_answer(story: Story) -> None:
    first = story.home.call("ask_model", prompt="my printer does not work", compare=True, max_tokens=8)
    assert first.status == "done", first.reason
    base, tuned = first.result["answers"]  # type: ignore[misc]
    assert isinstance(base, dict) and isinstance(tuned, dict)
    assert (base["adapter"], tuned["adapter"], base["precision"], tuned["precision"]) == (None, story.run, "int8", "int8")
    assert first.result["system"] == SYSTEM and first.result["decoding"] == "greedy"
    again = story.home.call("ask_model", prompt="my printer does not work", compare=True, max_tokens=8)
    assert [a["text"] for a in again.result["answers"]] == [base["text"], tuned["text"]]  # type: ignore[index, union-attr, call-overload]
    assert base["text"] not in json.dumps(dict(first.for_brain)) or not base["text"].strip()  # type: ignore[union-attr]


def test_the_bundled_base_was_built_by_the_run_and_is_kept_for_the_next(story: Story) -> None:
    assert (story.home.places.bundled_served / "genai_config.json").exists()


def test_the_evaluation_pairs_the_rows(story: Story) -> None:
    told = story.home.call("evaluate_model").result
    assert told["run_id"] == story.run and told["gain"]["method"].startswith("paired")  # type: ignore[index, union-attr, call-overload]
    assert told["gain"]["rows"] == 12 and told["verdict"] in {"better", "no_clear_difference"}  # type: ignore[index, call-overload]


@pytest.mark.parametrize(("form", "file"), [("onnx", "model.onnx"), ("adapter", "adapter_model.safetensors")])
def test_an_export_gives_the_files(story: Story, form: str, file: str) -> None:
    told = story.home.call("export_model", format=form).result
    assert file in [each["path"] for each in told["files"]]  # type: ignore[index, union-attr, call-overload]
    assert Path(str(told["path"])).is_relative_to(story.home.places.runs / story.run)


def test_a_finished_run_cannot_be_resumed_and_a_stop_of_it_is_harmless(story: Story) -> None:
    assert story.home.call("resume_run").status == "failed"
    assert story.home.call("cancel_run").result["state"] == "finished"


def test_a_row_is_previewed_as_the_trainer_sees_it(story: Story) -> None:
    told = story.home.call("preview_dataset", path="data/tickets.jsonl", rows=1, model="bundled")
    assert told.status == "done", told.reason
    assert SYSTEM in json.dumps(dict(told.result))


def test_the_log_is_there_for_faces_and_counted_for_the_brain(story: Story) -> None:
    told = story.home.call("tail_logs", lines=5)
    assert len(told.result["lines"]) == 5 and told.for_brain["lines"] == 5  # type: ignore[arg-type]


def test_the_latest_run_is_meant_only_where_nothing_is_named(story: Story) -> None:
    defaults = story.home.toolbox.defaults
    assert defaults("run_status", {}, OWNER) == {"run_id": story.run}
    assert defaults("run_status", {"run_id": "0000000000"}, OWNER) == {"run_id": "0000000000"}
    assert defaults("ask_model", {"prompt": "q"}, OWNER)["run_id"] == story.run
    assert defaults("ask_model", {"prompt": "q", "model": "bundled"}, OWNER) == {"prompt": "q", "model": "bundled"}
    assert defaults("start_finetune", {"model": "bundled"}, OWNER) == {"model": "bundled"}
    assert defaults("run_status", {}, Caller("stranger", "web", thread="thread-1")) == {}


def test_the_toolbox_holds_the_tools_of_this_version_under_their_names(story: Story) -> None:
    assert {name: tool.name for name, tool in story.home.toolbox.tools.items()} == {name: name for name in (
        "inspect_hardware", "list_models", "recommend_model", "add_dataset", "validate_dataset", "preview_dataset", "estimate_cost",
        "start_finetune", "list_runs", "run_status", "tail_logs", "cancel_run", "resume_run", "compare_runs", "evaluate_model",
        "export_model", "ask_model", "explain_policy", "test_policy", "spend_report", "deploy_inference", "redeploy", "list_deployments",
        "stop_deployment", "prepare_cloud", "stop_orphan", "list_orphans", "teardown_cloud", "fetch_results", "adopt_run",
    )}
    assert all(tool.text and tool.version for tool in story.home.toolbox.tools.values())


def test_an_id_that_is_none_opens_nothing(story: Story) -> None:
    toolbox = story.home.toolbox
    assert toolbox.run_view("../../etc/") is None and toolbox.watch("../../etc/") == ([], 0) and toolbox.log("../../etc/").lines == ()
