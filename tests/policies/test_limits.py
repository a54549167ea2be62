"""The limits: closed, commented, exact about money."""

import re

import pytest
from pydantic import ValidationError

from policies.limits import Limits, cents_up, dollars, micros
from policies.policy import SHIPPED

TEXT = (SHIPPED / "limits.toml").read_text()


def test_every_key_has_a_comment_above_it() -> None:
    lines = TEXT.splitlines()
    keys = [index for index, line in enumerate(lines) if re.match(r"\w+ = ", line)]
    assert keys and all(lines[index - 1].startswith("# ") for index in keys)


@pytest.mark.parametrize(("old", "new"), [
    ("quorum = 1", "quorum = 0"), ("quorum = 1", "quorum = true"), ("quorum = 1", 'quorum = "1"'), ("quorum = 1", "quorum = 1.0"),
    ("two_person_quorum = 2", "two_person_quorum = 1"), ('"50.00"', '"-1"'), ('"50.00"', '"NaN"'), ('"50.00"', '"1e9"'),
    ('"50.00"', '"99999999999"'), ('"50.00"', '"1.1234567"'), ("spending = true", "spending = 1"), ("max_pending = 5", ""),
    ("[calls]", "[calls]\nmore = 1"), ("[calls]", "[more]\n[calls]"), ('["owner", "member"]', '["viewer"]'),
    ("timeout_s = 7200", "timeout_s = nan"), ("timeout_s = 7200", "timeout_s = 0"),
])
def test_what_is_not_exactly_right_is_refused(old: str, new: str) -> None:
    assert old in TEXT
    with pytest.raises(ValidationError):
        Limits.parse(TEXT.replace(old, new, 1))


@pytest.mark.parametrize(("amount", "cents", "text"), [
    (0, 0, "0.00"), (1, 1, "0.01"), (9_999, 1, "0.01"), (10_000, 1, "0.01"), (10_001, 2, "0.02"), (1_234_567, 124, "1.24"),
    (50_000_000, 5000, "50.00"),
])
def test_a_ceiling_is_rounded_up_and_never_understated(amount: int, cents: int, text: str) -> None:
    assert (cents_up(amount), dollars(amount)) == (cents, text)


def test_a_text_of_money_is_exact() -> None:
    assert micros("0.1") + micros("0.2") == micros("0.3") == 300_000


def test_the_quorum_rises_at_the_threshold() -> None:
    limits = Limits.parse(TEXT)
    assert [limits.quorum(cents) for cents in (0, 9_999, 10_000, 10**12)] == [1, 1, 2, 2]
