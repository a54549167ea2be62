"""evaluate_model: from the run's own scores where they answer, by new ones where not."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from policies.tool import Call, ToolFailed
from tests.tools.fakes_runs import RunWorld
from tools.prove.evaluate import EvaluateArgs, EvaluateModel
from tools.prove.outcomes import of_run, read_matches
from tools.runs.runner import write_atomically
from tools.runs.state import RunState
from tools.serve.files import ServedFiles

ME = Call("evaluate", "owner")


class Evaluating:
    """A home with a finished run."""

    def __init__(self, home: Path) -> None:
        self.world = RunWorld(home)
        files = ServedFiles(self.world.places, self.world.local, self.world.engine)
        self.tool = EvaluateModel(self.world.planning, self.world.store, self.world.local, self.world.engine, files)

    def run(self, scored: bool = True, rows: bool = True) -> str:
        run = self.world.begin("finishes")
        self.world.until(run, RunState.FINISHED)
        folder = self.world.places.runs / run
        (folder / "adapter").mkdir()
        right = {"baseline": 0, "tuned": 18, "base_served": 0, "exported": 15}
        result: dict[str, Any] = {"outcome": "finished", "adapter_dir": "adapter"}
        for which, count in right.items() if scored else ():
            result[which] = {"model": "bundled", "adapter": None, "precision": "fp32", "rows": 40, "exact_match": count / 40, "loss": 1.0,
                             "tokens_per_s": None}
            if rows:
                (folder / "scores").mkdir(exist_ok=True)
                lines = [{"row": n, "wanted": "SECRET WANTED", "answer": "SECRET SAID", "match": n < count, "loss": 1.0} for n in range(40)]
                (folder / "scores" / f"{which}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        write_atomically(folder / "result.json", result)
        return run

    def told(self, run: str, dataset: str = "") -> dict[str, Any]:
        args = EvaluateArgs(run_id=run, dataset=dataset)
        self.tool.propose(args)
        return dict(self.tool.perform(args, ME).result)


@pytest.fixture
def evaluating(tmp_path: Path) -> Iterator[Evaluating]:
    evaluating = Evaluating(tmp_path)
    yield evaluating
    evaluating.world.close()


def test_the_runs_own_scores_are_taken_row_by_row(evaluating: Evaluating) -> None:
    told = evaluating.told(evaluating.run())
    assert told["gain"]["value"] == 0.45 and told["gain"]["p"] < 1e-4 and told["gain"]["method"].startswith("paired")
    assert (told["verdict"], told["export_change"]["value"], told["gain_served"]["value"]) == ("better", -0.075, 0.375)
    assert told["baseline"]["exact_match"] == 0 and told["exported"]["exact_match"] == 0.375


def test_forgetting_is_said_to_be_unmeasured_and_not_left_out(evaluating: Evaluating) -> None:
    told = evaluating.told(evaluating.run())
    assert told["forgetting"] is None and "Not measured" in told["forgetting_reason"]


def test_without_rows_the_interval_is_wider_and_says_so(evaluating: Evaluating) -> None:
    told = evaluating.told(evaluating.run(rows=False))
    assert told["gain"]["method"].startswith("from totals") and told["gain"]["value"] == 0.45


def test_what_was_not_scored_is_scored_now_and_only_once(evaluating: Evaluating) -> None:
    run = evaluating.run(scored=False)
    first = evaluating.told(run)
    assert (first["baseline"]["exact_match"], first["tuned"]["exact_match"], first["gain"]["value"]) == (0, 0.8, 0.8)
    (evaluating.world.places.runs / run / "mode.txt").unlink()
    evaluating.world.places.engine_python.write_text("#!/bin/sh\nexit 9\n")
    assert evaluating.told(run) == first


def test_other_data_is_prepared_and_scored_beside_the_runs_own(evaluating: Evaluating) -> None:
    run = evaluating.run()
    told = evaluating.told(run, "samples/other.jsonl")
    assert told["dataset"] == "samples/other.jsonl" and told["gain"]["value"] == 0.8
    assert evaluating.world.planning.prepared[-1] == "samples/other.jsonl"
    assert evaluating.told(run)["gain"]["value"] == 0.45


def test_the_brain_gets_numbers_and_no_row(evaluating: Evaluating) -> None:
    run = evaluating.run()
    done = evaluating.tool.perform(EvaluateArgs(run_id=run), ME)
    assert "SECRET" not in json.dumps(dict(done.for_brain)) + json.dumps(dict(done.result))
    assert done.for_brain["verdict"] == "better"


def test_a_run_that_has_no_adapter_or_still_runs_is_refused(evaluating: Evaluating) -> None:
    run = evaluating.run()
    (evaluating.world.places.runs / run / "adapter").rmdir()
    with pytest.raises(ToolFailed, match="no adapter"):
        evaluating.tool.propose(EvaluateArgs(run_id=run))
    live = evaluating.world.row()
    with pytest.raises(ToolFailed, match="still queued"):
        evaluating.tool.propose(EvaluateArgs(run_id=live))
    evaluating.world.store.set_state(live, RunState.FAILED, "")


def test_a_model_that_was_replaced_is_not_scored_in_the_old_ones_name(evaluating: Evaluating) -> None:
    run = evaluating.run(scored=False)
    evaluating.world.planning.model_digest = "b" * 64
    with pytest.raises(ToolFailed, match="not the one"):
        evaluating.told(run)


def test_a_damaged_file_of_answers_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"match": true}\n{"mat')
    assert read_matches(tmp_path / "a.jsonl") == () and of_run(tmp_path).scores == {}
