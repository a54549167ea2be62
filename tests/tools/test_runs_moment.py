"""Lengths of time that no change of the clock can bend."""

import time

import pytest

from tools.runs.moment import mark, seconds_since


def test_a_moment_grows_old_by_the_kernels_count_alone() -> None:
    then = {**mark(), "mono": time.monotonic() - 90}
    found = seconds_since(then)
    assert found is not None and 90 <= found < 150


@pytest.mark.parametrize("value", [
    pytest.param(None, id="nothing"), pytest.param({}, id="no mark"), pytest.param({**mark(), "boot": "another"}, id="another boot"),
    pytest.param({**mark(), "mono": "soon"}, id="no number"), pytest.param({**mark(), "mono": True}, id="a yes"),
])
def test_what_says_nothing_about_this_boot_is_unknown(value: dict[str, object] | None) -> None:
    assert seconds_since(value) is None


def test_a_moment_to_come_is_now() -> None:
    assert seconds_since({**mark(), "mono": time.monotonic() + 3600}) == 0.0
