"""The long-lived child, its answers and its ends: a real process with a script in the engine's place."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from policies.tool import ToolFailed
from tests.tools.fakes_runs import RunWorld, wait_until
from tools.serve.answerer import Answered, Answerer, Label
from tools.serve.preview import PreviewChild

LABEL = Label("bundled", None, "int8")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[RunWorld]:
    world = RunWorld(tmp_path)
    yield world
    world.close()


@pytest.fixture
def answerer(world: RunWorld, tmp_path: Path) -> Iterator[Answerer]:
    answerer = Answerer(world.engine, tmp_path / "children", threads=1)
    yield answerer
    answerer.close()
    assert answerer.pid is None


def ask(answerer: Answerer, words: str, timeout_s: float = 20) -> Answered:
    return answerer.ask(Path("served"), LABEL, [{"role": "user", "content": words}], timeout_s=timeout_s)


def test_nothing_runs_before_the_first_question_and_one_child_answers_all(answerer: Answerer) -> None:
    assert answerer.pid is None
    first, second = ask(answerer, "hello"), ask(answerer, "again")
    assert first.text == second.text and str(answerer.pid) in first.text
    assert (first.tokens, first.tokens_per_s, first.finish_reason) == (3, 70.12, "stop")


def test_an_answer_is_heard_piece_by_piece(answerer: Answerer) -> None:
    heard: list[str] = []
    answerer.ask(Path("served"), LABEL, [{"role": "user", "content": "hello"}], hear=heard.append)
    assert heard == ["he", "llo"]


def test_a_child_that_ended_by_itself_is_started_again_without_a_word(answerer: Answerer) -> None:
    assert ask(answerer, "idle out").text == "last words"
    assert ask(answerer, "hello").tokens == 3


def test_a_child_that_dies_on_a_question_is_reported_and_the_next_question_gets_another(answerer: Answerer) -> None:
    ask(answerer, "hello")
    before = answerer.pid
    with pytest.raises(ToolFailed, match="signal 9") as failed:
        ask(answerer, "die")
    assert failed.value.kind == "child_died"
    ask(answerer, "hello")
    assert answerer.pid not in {None, before}


def test_a_child_that_was_killed_between_questions_is_replaced(answerer: Answerer) -> None:
    ask(answerer, "hello")
    assert answerer.pid is not None
    os.kill(answerer.pid, signal.SIGKILL)
    assert ask(answerer, "hello").tokens == 3


def test_a_child_that_hangs_is_stopped_in_time(answerer: Answerer) -> None:
    with pytest.raises(ToolFailed, match="did not answer within") as failed:
        ask(answerer, "hang", timeout_s=0.5)
    assert failed.value.kind == "timeout" and answerer.pid is None


def test_the_engines_own_reason_is_passed_on_and_the_child_stays(answerer: Answerer) -> None:
    with pytest.raises(ToolFailed, match="too long") as failed:
        ask(answerer, "fail")
    assert failed.value.kind == "usage" and answerer.pid is not None


def test_noise_and_answers_to_others_are_passed_over(answerer: Answerer) -> None:
    assert ask(answerer, "garbage").text == "right"


def test_questions_from_many_threads_each_get_their_own_answer(answerer: Answerer) -> None:
    texts: list[str] = []
    threads = [threading.Thread(target=lambda: texts.append(ask(answerer, "hello").text)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(texts) == 6 and len(set(texts)) == 1


def test_closing_ends_a_question_under_way_and_refuses_the_next(answerer: Answerer) -> None:
    failures: list[str] = []

    def hang() -> None:
        try:
            ask(answerer, "hang", timeout_s=60)
        except ToolFailed as failed:
            failures.append(failed.kind)

    thread = threading.Thread(target=hang)
    thread.start()
    wait_until(lambda: answerer.pid is not None, "the child")
    answerer.close()
    thread.join(20)
    assert failures == ["child_died"]
    with pytest.raises(ToolFailed, match="closing"):
        ask(answerer, "hello")


def test_an_engine_that_is_not_installed_is_said_to_be_missing(world: RunWorld, answerer: Answerer) -> None:
    world.places.engine_python.unlink()
    with pytest.raises(ToolFailed, match="not installed") as failed:
        ask(answerer, "hello")
    assert "make run" in failed.value.try_next


def test_a_row_is_previewed_and_an_idle_preview_child_is_let_go(world: RunWorld, tmp_path: Path) -> None:
    previews = PreviewChild(world.engine, tmp_path / "children")
    try:
        assert previews.render(Path("model"), {"text": "a row"}, 64)["rendered"] == "a row"
        with pytest.raises(ToolFailed, match="too long"):
            previews.render(Path("model"), {"text": "fail"}, 64)
        previews.tidy()
        assert previews._child.pid is not None
        previews._child.tidy(idle_s=-1)
        assert previews._child.pid is None
    finally:
        previews.close()
