"""Whose turn it is."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.runs.turns import Waiting, expected_starts, in_turn


def wait(ident: str, owner: str, since: str, seconds: float | None = 60) -> Waiting:
    return Waiting(ident, owner, since, seconds)


CASES = {
    "nobody": ([], {}, []),
    "one person's runs in the order they came": ([wait("b", "ana", "2"), wait("a", "ana", "1")], {}, ["a", "b"]),
    "two persons take turns": (
        [wait("a1", "ana", "1"), wait("a2", "ana", "2"), wait("a3", "ana", "3"), wait("b1", "bob", "4")], {}, ["a1", "b1", "a2", "a3"],
    ),
    "who has it now comes after who waits": ([wait("a1", "ana", "1"), wait("b1", "bob", "2")], {"ana": "9"}, ["b1", "a1"]),
    "who had it longest ago comes first": ([wait("a1", "ana", "1"), wait("b1", "bob", "2")], {"ana": "8", "bob": "7"}, ["b1", "a1"]),
    "who never had it comes before who did": ([wait("a1", "ana", "1"), wait("c1", "cy", "3")], {"ana": "1"}, ["c1", "a1"]),
}


@pytest.mark.parametrize(("waiting", "served", "order"), CASES.values(), ids=CASES.keys())
def test_the_order_of_turns(waiting: list[Waiting], served: dict[str, str], order: list[str]) -> None:
    assert [each.id for each in in_turn(waiting, served)] == order


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 99)), max_size=30),
    st.dictionaries(st.sampled_from("abcd"), st.text("0123")),
)
def test_everybody_gets_a_turn_once_and_nobody_waits_for_more_than_one_run_of_each_other_person(
    asked: list[tuple[str, int]], served: dict[str, str]
) -> None:
    waiting = [wait(f"r{n}", owner, f"{since:03}") for n, (owner, since) in enumerate(asked)]
    order = in_turn(waiting, served)
    assert sorted(each.id for each in order) == sorted(each.id for each in waiting)
    for owner in {each.owner for each in order}:
        before = Counter(each.owner for each in order[: next(n for n, each in enumerate(order) if each.owner == owner)])
        assert all(count == 1 for count in before.values())
        mine = [each.since for each in order if each.owner == owner]
        assert mine == sorted(mine)


def test_expected_starts_add_up_and_end_where_something_is_unknown() -> None:
    order = [wait("a", "ana", "1", 60), wait("b", "bob", "2", None), wait("c", "cy", "3", 30)]
    assert expected_starts(order, 100) == {"a": 100, "b": 160, "c": None}
    assert expected_starts(order, None) == {"a": None, "b": None, "c": None}
