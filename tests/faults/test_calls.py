"""One call after the other fails for want of space, until none is left: each time all of it happened, or none and it was said."""

from collections.abc import Callable
from itertools import count

import pytest

from tests.faults.proof import WHOLE
from tests.faults.town import Town

NewTown = Callable[[], Town]
SAID = ("policies.book.BookBroken", "policies.tool.ToolFailed", "OSError: [Errno 28]")
"""What a program that could not even be opened may end with."""


@pytest.mark.parametrize(
    ("wish", "stride", "least"),
    [
        pytest.param("sql", 23, 150, id="a statement of the book"), pytest.param("commit.fails", 8, 30, id="a commit"),
        pytest.param("file", 9, 20, id="a file operation in a run folder"),
    ],
)
def test_whichever_call_fails_a_home_says_so_goes_on_and_keeps_every_promise(
    new_town: NewTown, wish: str, stride: int, least: int
) -> None:
    reached = 0
    for number in count(1, 1 if WHOLE else stride):
        town = new_town()
        rc = town.live("life", f"{wish}:{number}", tries=3)
        if not any("broke" in one for one in town.said()):
            assert rc == 0, town.trouble()
            break
        what, reached = town.word("broke", 0), number
        assert rc == 0 or town.trouble().strip().splitlines()[-1].startswith(SAID), (number, what, town.trouble())
        town.sound()
    assert reached >= least


@pytest.mark.parametrize("point", ["runner.spawn.before", "runner.spawn.after", "runner.exit.before", "runner.lock.after"])
def test_a_runner_without_space_ends_its_run_with_a_reason_and_leaves_nobody(town: Town, point: str) -> None:
    town.live("train", f"{point}:1:raise", mode="finishes")
    town.sound()
