"""ask_model: which model answers, said and never guessed."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from policies.policy import Policy
from policies.tool import Call, ToolFailed
from tests.tools.fakes_runs import RunWorld
from tools.models import ModelFolder
from tools.runs.runner import write_atomically
from tools.runs.state import RunState
from tools.serve.answerer import Answerer
from tools.serve.ask import AskArgs, AskModel
from tools.serve.deploy import Deploying
from tools.serve.deploy_ask import DeployedModels
from tools.serve.deploy_local import LocalDeployments
from tools.serve.deploy_plan import DeployPlans
from tools.serve.deploy_reconcile import DeployReconciler
from tools.serve.deploy_store import DeploymentStore
from tools.serve.export import ExportArgs, ExportModel
from tools.serve.files import ServedFiles

ME = Call("ask", "owner")


class Folders:
    """The catalogue, as ask_model needs it."""

    def __init__(self, world: RunWorld) -> None:
        self._world = world

    def folder(self, model: str, /) -> ModelFolder:
        if model == "unknown":
            raise ToolFailed("Find the model", "It is unknown.", "See list_models.")
        return self._world.planning.model(model)


def none_deployed(world: RunWorld, files: ServedFiles) -> DeployedModels:
    """A home without deployments."""
    store, local = DeploymentStore(world.book), LocalDeployments(world.places, world.engine)
    plans = DeployPlans(world.store, Folders(world), files, world.planning.machine, Policy.load, 1)
    return DeployedModels(Deploying(plans, store, local, DeployReconciler(store, local), world.local.folder))


class Asking:
    """A home with a finished run, served files and an answering child."""

    def __init__(self, home: Path) -> None:
        self.world = RunWorld(home)
        self.files = ServedFiles(self.world.places, self.world.local, self.world.engine)
        self.answerer = Answerer(self.world.engine, home / "children", threads=1)
        deployed = none_deployed(self.world, self.files)
        self.tool = AskModel(self.world.store, Folders(self.world), self.files, self.answerer, deployed, threads=1)
        self.export = ExportModel(self.world.store, self.world.local, self.files)
        self.reports: list[str] = []

    def run(self, served: bool = True, adapter: bool = True, system: str = "Answer briefly.", call_id: str = "call-1") -> str:
        self.world.planning.system = system
        run = self.world.begin("finishes", call_id)
        self.world.until(run, RunState.FINISHED)
        folder = self.world.places.runs / run
        result: dict[str, Any] = {"outcome": "finished", "tuned": {"exact_match": 0.5, "rows": 40, "precision": "fp32", "loss": 1.0}}
        if adapter:
            (folder / "adapter").mkdir()
            (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"weights")
            result["adapter_dir"] = "adapter"
        if served:
            (folder / "served").mkdir()
            (folder / "served" / "genai_config.json").write_text("{}")
            result |= {"served_dir": "served", "exported": {"exact_match": 0.4, "rows": 40, "precision": "int8", "loss": None}}
        write_atomically(folder / "result.json", result)
        return run

    def ask(self, **args: Any) -> list[dict[str, Any]]:
        wanted = AskArgs.model_validate({"prompt": "My printer is on fire", **args})
        self.tool.propose(wanted)
        call = Call("ask", "owner", report=lambda text, _: self.reports.append(text))
        answers = self.tool.perform(wanted, call).result["answers"]
        assert isinstance(answers, list)
        return [answer for answer in answers if isinstance(answer, dict)]


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    asking = Asking(tmp_path)
    yield asking
    asking.answerer.close()
    asking.world.close()


def test_both_answer_side_by_side_each_with_its_label(asking: Asking) -> None:
    run = asking.run()
    base, tuned = asking.ask(run_id=run, compare=True)
    assert [(a["model"], a["adapter"], a["precision"]) for a in (base, tuned)] == [("bundled", None, "int8"), ("bundled", run, "int8")]
    assert base["text"].startswith("bundled/None/2/") and tuned["text"].startswith(f"bundled/{run}/2/")  # a system message, a question


def test_the_untuned_files_are_built_once_when_they_are_missing_and_that_is_said(asking: Asking) -> None:
    run = asking.run()
    asking.ask(run_id=run, compare=True)
    assert any("done once" in text for text in asking.reports)
    asking.reports.clear()
    asking.ask(run_id=run, compare=True)
    assert not any("done once" in text for text in asking.reports)
    assert (asking.world.places.home / "served" / f"{'a' * 16}-int8" / "genai_config.json").exists()


def test_a_run_trained_without_a_shared_system_message_is_asked_without_one(asking: Asking) -> None:
    run = asking.run(system="")
    assert asking.ask(run_id=run)[0]["text"].split("/")[2] == "1"


def test_a_model_alone_answers_untuned(asking: Asking) -> None:
    (answer,) = asking.ask(model="bundled")
    assert answer["adapter"] is None
    assert asking.ask()[0]["model"] == "bundled"


@pytest.mark.parametrize(
    ("args", "kind"),
    [
        ({"deployment_id": "d"}, "no_such_deployment"), ({"run_id": "0123456789", "model": "bundled"}, "usage"),
        ({"compare": True}, "no_run"), ({"compare": True, "model": "bundled"}, "no_run"), ({"run_id": "0000000000"}, "no_such_run"),
        ({"model": "unknown"}, "failed"),
    ],
    ids=["deployment", "run and model", "nothing to compare", "an untuned model alone", "unknown run", "unknown model"],
)
def test_a_question_to_nobody_is_refused_with_the_next_step(asking: Asking, args: dict[str, Any], kind: str) -> None:
    with pytest.raises(ToolFailed) as refused:
        asking.ask(**args)
    assert refused.value.kind == kind and refused.value.try_next and asking.answerer.pid is None


def test_a_run_without_served_files_never_lets_another_model_answer(asking: Asking) -> None:
    run = asking.run(served=False)
    with pytest.raises(ToolFailed, match="no served files") as refused:
        asking.ask(run_id=run)
    assert "export_model" in refused.value.try_next and asking.answerer.pid is None


def test_a_run_without_anything_points_to_resume(asking: Asking) -> None:
    run = asking.run(served=False, adapter=False)
    with pytest.raises(ToolFailed, match="neither adapter nor served files"):
        asking.ask(run_id=run)


def test_the_brain_learns_that_answers_were_shown_and_not_what_they_say(asking: Asking) -> None:
    run = asking.run()
    done = asking.tool.perform(AskArgs(prompt="q", run_id=run), ME)
    shown = json.dumps(dict(done.result["answers"][0]))  # type: ignore[index, arg-type]
    assert f"bundled/{run}/" in shown and "\\u0007" not in shown
    assert done.for_brain["shown_to_person"] is True and "bundled/" not in json.dumps(dict(done.for_brain))


def test_an_export_gives_files_with_digests_and_how_faithful_they_are(asking: Asking) -> None:
    run = asking.run()
    done = asking.export.perform(ExportArgs(run_id=run, format="onnx"), ME)
    assert done.result["path"] == str(asking.world.places.runs / run / "served")
    digest = hashlib.sha256(b"{}").hexdigest()
    assert done.result["files"] == [{"path": "genai_config.json", "bytes": 2, "sha256": digest}]
    assert done.result["parity"]["exact_match_change"] == -0.1  # type: ignore[index, call-overload]


def test_an_adapter_is_given_as_it_is(asking: Asking) -> None:
    run = asking.run(served=False)
    done = asking.export.perform(ExportArgs(run_id=run, format="adapter"), ME)
    assert [file["path"] for file in done.result["files"]] == ["adapter_model.safetensors"]  # type: ignore[index, union-attr, call-overload]


def test_missing_served_files_are_built_by_an_export_and_then_answer(asking: Asking) -> None:
    run = asking.run(served=False)
    asking.export.propose(ExportArgs(run_id=run, format="onnx"))
    asking.export.perform(ExportArgs(run_id=run, format="onnx"), ME)
    assert asking.ask(run_id=run)[0]["adapter"] == run


@pytest.mark.parametrize("form", ["gguf", "safetensors"])
def test_other_formats_are_said_to_be_missing(asking: Asking, form: str) -> None:
    with pytest.raises(ToolFailed, match="not in this version"):
        asking.export.propose(ExportArgs.model_validate({"run_id": "0123456789", "format": form}))


def test_a_run_without_adapter_cannot_be_exported(asking: Asking) -> None:
    run = asking.run(served=False, adapter=False)
    with pytest.raises(ToolFailed, match="no adapter"):
        asking.export.propose(ExportArgs(run_id=run, format="onnx"))
