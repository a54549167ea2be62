"""Shapes: each known format is recognised and turned into the same conversation."""

import pytest

from tools.datasets.problem import Problem
from tools.datasets.shape import Example, Message, recognise

ASK_AND_ANSWER = (Message("user", "What?"), Message("assistant", "That."))
TURNS = [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "That."}]


def turn(row: object) -> Example | Problem:
    return recognise(row).turn(row, 7)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "name"),
    [
        pytest.param({"messages": TURNS}, "chat", id="messages"),
        pytest.param({"messages": [{"role": "user", "content": [{"type": "text", "text": "What?"}]}, TURNS[1]]}, "chat", id="text parts"),
        pytest.param(
            {"conversations": [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "That."}]}, "sharegpt", id="sharegpt",
        ),
        pytest.param({"conversations": TURNS}, "sharegpt", id="conversations with roles"),
        pytest.param({"instruction": "What?", "output": "That."}, "instruction", id="instruction"),
        pytest.param({"instruction": "What?", "input": "", "output": "That."}, "instruction", id="instruction, empty input"),
        pytest.param({"prompt": "What?", "completion": "That."}, "prompt", id="prompt"),
        pytest.param({"Prompt": " What? ", "Response": "That.\n"}, "prompt", id="capitals and blanks"),
        pytest.param({"prompt": [TURNS[0]], "completion": [TURNS[1]]}, "prompt", id="prompt of turns"),
        pytest.param({"question": "What?", "answer": "That."}, "question", id="question"),
        pytest.param({"input": "What?", "output": "That."}, "labelled", id="input and output"),
        pytest.param({"text": "What?", "label": "That."}, "labelled", id="text and label"),
    ],
)
def test_each_format_becomes_the_same_conversation(row: dict[str, object], name: str) -> None:
    assert recognise(row).format == name  # type: ignore[arg-type]
    made = turn(row)
    assert isinstance(made, Example)
    assert made.messages == ASK_AND_ANSWER


def test_the_input_of_an_instruction_follows_it() -> None:
    made = turn({"instruction": "Add.", "input": "1 and 2", "output": "3"})
    assert isinstance(made, Example)
    assert made.prompt == "Add.\n\n1 and 2"


def test_the_context_of_a_question_precedes_it() -> None:
    made = turn({"context": "Rain fell.", "question": "What fell?", "answer": "Rain"})
    assert isinstance(made, Example)
    assert made.prompt == "Rain fell.\n\nWhat fell?"


def test_numbers_are_good_labels() -> None:
    made = turn({"text": "fine", "label": 1})
    assert isinstance(made, Example)
    assert made.answer == "1"


def test_a_text_stays_a_text() -> None:
    assert turn("words") == turn({"text": "words"}) == Example(text="words")
    assert Example(text="words").as_row() == {"text": "words"}


def test_the_system_turn_is_kept_and_is_no_part_of_the_prompt() -> None:
    made = turn({"messages": [{"role": "system", "content": "Be brief."}, *TURNS]})
    assert isinstance(made, Example)
    assert made.prompt == "What?"
    assert made.as_row() == {"messages": [{"role": "system", "content": "Be brief."}, *TURNS]}


@pytest.mark.parametrize(
    ("field", "split"),
    [
        ("train", "train"), ("Training", "train"), ("val", "validation"), ("dev", "validation"), (" test ", "test"), ("other", None),
        (3, None),
    ],
)
def test_split_and_group_are_read_from_any_format(field: object, split: str | None) -> None:
    made = turn({"prompt": "What?", "completion": "That.", "split": field, "group": 12})
    assert isinstance(made, Example)
    assert (made.split, made.group) == (split, "12")


@pytest.mark.parametrize(
    "row",
    [
        pytest.param({"prompt": "p", "chosen": "a", "rejected": "b"}, id="pairs"),
        pytest.param({"chosen": TURNS, "rejected": TURNS}, id="pairs of conversations"),
        pytest.param({"prompt": "p", "completion": "c", "label": True}, id="thumbs"),
    ],
)
def test_preferences_are_recognised(row: dict[str, object]) -> None:
    assert recognise(row).format == "preference"  # type: ignore[arg-type]


@pytest.mark.parametrize("row", [{"a": 1, "b": 2}, {}, 3, None, ["x"], {"messages": "words"}])
def test_anything_else_is_unknown(row: object) -> None:
    assert recognise(row).format == "unknown"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        pytest.param({"messages": []}, "empty_conversation", id="no turns"),
        pytest.param({"messages": TURNS[:1]}, "role_order", id="no answer"),
        pytest.param({"messages": TURNS[1:]}, "role_order", id="no question"),
        pytest.param({"messages": [TURNS[0], *TURNS]}, "role_order", id="user twice"),
        pytest.param({"messages": [*TURNS, {"role": "system", "content": "late"}]}, "role_order", id="system last"),
        pytest.param({"messages": [TURNS[0], {"role": "tool", "content": "x"}]}, "role", id="a tool speaks"),
        pytest.param({"messages": [TURNS[0], {"role": "assistant", "content": None}]}, "content", id="no content"),
        pytest.param({"messages": [{"role": "user", "content": [{"type": "image"}]}, TURNS[1]]}, "content", id="a picture"),
        pytest.param({"messages": ["words"]}, "other_shape", id="turns are texts"),
        pytest.param({"messages": [TURNS[0], {"role": "assistant", "content": " "}]}, "empty_answer", id="blank answer"),
        pytest.param({"messages": [{"role": "user", "content": ""}, TURNS[1]]}, "empty_question", id="blank question"),
        pytest.param({"prompt": "p", "completion": ""}, "empty_answer", id="empty completion"),
        pytest.param({"prompt": "p", "completion": None}, "empty_answer", id="null completion"),
        pytest.param({"prompt": "", "completion": "c"}, "empty_question", id="empty prompt"),
        pytest.param({"text": " "}, "empty_text", id="blank text"),
    ],
)
def test_a_row_that_teaches_nothing_is_named_and_left_out(row: dict[str, object], kind: str) -> None:
    found = turn(row)
    assert isinstance(found, Problem)
    assert (found.kind, found.row, found.severity) == (kind, 7, "warning")
    assert found.remedy


def test_a_row_of_another_shape_does_not_pass() -> None:
    shape = recognise({"prompt": "p", "completion": "c"})
    found = shape.turn(["p", "c"], 3)
    assert isinstance(found, Problem)
    assert found.kind == "other_shape"
