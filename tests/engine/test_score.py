"""Scores: word-for-word answers, the loss on the answers alone, and the verb that measures both."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.conftest import rows, write_rows
from tools.engine import score as scoring
from tools.engine.data import Renderer
from tools.engine.failure import EngineFailed

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def renderer(tiny: Path) -> Renderer:
    return Renderer(tiny)


def test_the_loss_is_the_models_own_on_the_answers_whatever_the_batch(tiny: Path, renderer: Renderer, tmp_path: Path) -> None:
    import torch

    write_rows(tmp_path / "test.jsonl", rows(7))
    asked = scoring.questions(renderer, tmp_path / "test.jsonl", 7, 512)
    model = scoring.load(tiny, None).eval()
    found = scoring.answer_losses(model, asked, 0, lambda *_: None)
    for question, (total, count) in zip(asked, found, strict=True):
        ids = torch.tensor([[*question.prompt_ids, *question.answer_ids]])
        labels = ids.clone()
        labels[0, : len(question.prompt_ids)] = -100
        with torch.inference_mode():
            assert total / count == pytest.approx(float(model(input_ids=ids, labels=labels).loss), abs=1e-4)
        assert count == len(question.answer_ids)


def test_batched_answers_are_those_of_one_question_at_a_time(finished: Path, tiny: Path, renderer: Renderer, tmp_path: Path) -> None:
    write_rows(tmp_path / "test.jsonl", rows(5))
    asked = scoring.questions(renderer, tmp_path / "test.jsonl", 5, 512)
    model = scoring.load(tiny, finished / "adapter").eval()
    together = scoring.answers_of(model, renderer, asked, 12, 0, lambda *_: None)
    for question, text in zip(asked, together, strict=True):
        assert scoring.answers_of(model, renderer, [question], 12, 0, lambda *_: None)[0].startswith(text[:4])


def test_blanks_at_the_ends_do_not_count_and_words_do() -> None:
    assert scoring.same(" printer | high\n", "printer | high")
    assert not scoring.same("printer | low", "printer | high")


def test_a_text_row_gives_a_loss_and_no_match(tiny: Path, renderer: Renderer, tmp_path: Path) -> None:
    write_rows(tmp_path / "test.jsonl", [{"text": "hello there"}, {"text": "good day"}])
    asked = scoring.questions(renderer, tmp_path / "test.jsonl", 5, 512)
    found = scoring.score_model(scoring.load(tiny, None), renderer, asked, 8, scoring.empty("m", None, "fp32")).score
    assert (found.rows, found.exact_match) == (2, 0.0) and found.loss is not None and found.loss > 0


def test_rows_without_an_answer_can_not_be_scored(renderer: Renderer, tmp_path: Path) -> None:
    write_rows(tmp_path / "test.jsonl", [{"messages": [{"role": "user", "content": "x"}]}])
    with pytest.raises(EngineFailed, match="can be scored"):
        scoring.questions(renderer, tmp_path / "test.jsonl", 5, 512)


def test_a_run_keeps_what_each_model_said_to_each_row(finished: Path) -> None:
    for which in ("tuned", "baseline", "exported", "base_served"):
        lines = (finished / "scores" / f"{which}.jsonl").read_text(encoding="utf-8").splitlines()
        said = [json.loads(line) for line in lines]
        assert [answer["row"] for answer in said] == [0, 1, 2, 3]
        assert all(answer["match"] == (answer["answer"].strip() == answer["wanted"].strip()) for answer in said)


def test_the_verb_scores_a_checkpoint_and_served_files_with_the_same_rows(finished: Path, tiny: Path, start: Start, tmp_path: Path) -> None:
    spec = {
        "out": str(tmp_path / "out"), "model_id": "tiny", "model_dir": str(tiny), "adapter_dir": str(finished / "adapter"),
        "served_dirs": {"int8": str(finished / "served")}, "rows_path": str(finished / "data" / "test.jsonl"), "rows": 4,
    }  # fmt: skip
    (tmp_path / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    child = start(tmp_path, "score", "spec.json")
    _, errors = child.communicate(timeout=90)
    assert child.returncode == 0, errors
    checkpoint, served = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    tuned = json.loads((finished / "result.json").read_text(encoding="utf-8"))["tuned"]
    assert checkpoint["loss"] == pytest.approx(tuned["loss"], abs=1e-5) and served["precision"] == "int8" and served["rows"] == 4


def test_a_failed_verb_says_so_as_json(start: Start, tmp_path: Path) -> None:
    spec = {"out": str(tmp_path / "out"), "model_id": "m", "model_dir": str(tmp_path), "rows_path": "/nowhere"}
    (tmp_path / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    child = start(tmp_path, "score", "spec.json")
    out, _ = child.communicate(timeout=60)
    said = json.loads(out.strip().splitlines()[-1])
    assert child.returncode == 1 and said["outcome"] == "failed" and said["error_kind"] == "model"
