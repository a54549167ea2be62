"""Run ids."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.engine.spec import TrainSpec
from tools.runs.rid import ALPHABET, is_rid, rid_of


@given(st.text())
def test_every_call_gives_an_id_that_the_engine_accepts(call_id: str) -> None:
    rid = rid_of(call_id)
    assert len(rid) == 10 and set(rid) <= set(ALPHABET) and is_rid(rid)
    assert TrainSpec.model_fields["run_id"].metadata


def test_the_same_call_names_the_same_run_and_another_call_another_one() -> None:
    assert rid_of("a") == rid_of("a") != rid_of("b")
    assert len({rid_of(str(n)) for n in range(2000)}) == 2000


@pytest.mark.parametrize(
    "text", ["", "../../etc", "x; rm -rf ~", "$(id)", "0123456789\n", "012345678", "ABCDEFGHJK", "01234567il", "a/b/c/d/e/"]
)
def test_nothing_else_is_taken_for_one(text: str) -> None:
    assert not is_rid(text)
