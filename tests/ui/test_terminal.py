"""What the terminal shows."""

import io

from rich.console import Console

from agent.events import ApprovalChanged, ApprovalWanted, Choices, Problem, RunShown, TextDelta, TextDone, ToolEnded, ToolStarted, TurnEnded
from tests.ui.fakes_run import ANSWERS
from tests.ui.test_cards import VIEW
from ui.terminal import TurnPrinter, approval_panel


def printed(*events: object) -> tuple[TurnPrinter, str]:
    printer = TurnPrinter(Console(file=io.StringIO(), width=100))
    for event in events:
        printer.show(event)  # pyright: ignore[reportArgumentType]
    assert isinstance(printer.console.file, io.StringIO)
    return printer, printer.console.file.getvalue()


def test_streamed_words_are_printed_once():
    deltas = TextDelta("t", "1", "Hello "), TextDelta("t", "1", "there.")
    printer, text = printed(*deltas, TextDone("t", "1", "Hello there."), TurnEnded("t", "1"))
    assert text == "Hello there.\n" and printer.text == "Hello there."
    assert printed(TextDone("t", "1", "Hello there."))[1] == "Hello there.\n"


def test_tools_answers_choices_and_problems_are_told():
    _, text = printed(
        ToolStarted("t", "1", "c", "ask_model", {"prompt": "x", "run_id": None}),
        ToolEnded("t", "1", "c", "ask_model", "done", {"answers": ANSWERS}),
        ToolEnded("t", "1", "d", "delete", "refused", {}, "No.", "Ask."),
        Choices("t", "1", (("a", "Say a"),)), Problem("t", "1", "Bad.", "Do."),
    )
    assert "· ask_model prompt=x\n" in text and "no adapter" in text and "Queue: Hardware" in text
    assert "delete: refused. No. Ask." in text and "Say a" in text and "Bad. Do." in text


def test_what_still_waits_at_the_end_is_remembered():
    printer, _ = printed(ApprovalWanted("t", VIEW), RunShown("t", "r"))
    assert [view.id for view in printer.waiting] == [VIEW.id] and printer.runs == ["r"]
    printer.show(ApprovalChanged("t", VIEW))
    assert printer.waiting == []


def test_text_of_a_card_is_plain_even_where_it_looks_like_markup():
    from dataclasses import replace

    console = Console(file=io.StringIO(), width=100)
    console.print(approval_panel(replace(VIEW, lines=(("Model", "[red]not red[/red]"),))))
    assert isinstance(console.file, io.StringIO)
    assert "[red]not red[/red]" in console.file.getvalue() and "9f86d081" in console.file.getvalue()
