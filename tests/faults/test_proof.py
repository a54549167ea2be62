"""The table of faults says what the tests say: every fault once, with one expectation, and none that nobody proves but those to come."""

import pytest

from docs.faults_table import LATER, faults_page, proofs
from tests.faults.proof import proves

LAST = 33


def test_every_fault_has_one_row() -> None:
    rows = [line.split(" | ")[0] for line in faults_page().splitlines() if line.startswith("| F")]
    assert rows == [f"| F{number}" for number in range(1, LAST + 1)]


def test_a_fault_has_the_same_words_in_all_its_tests_and_is_either_proven_or_to_come() -> None:
    words: dict[str, set[tuple[str, str]]] = {}
    for each in proofs():
        words.setdefault(each.number, set()).add((each.fault, each.expected))
    assert all(len(said) == 1 for said in words.values())
    assert not set(words) & set(LATER)


@pytest.mark.parametrize(("number", "fault"), [("1", "x"), ("F", "x"), ("F100", "x"), ("F1", "a | b")])
def test_a_mark_that_would_break_the_table_is_refused(number: str, fault: str) -> None:
    with pytest.raises(ValueError, match="F and a number"):
        proves(number, fault, "y")
