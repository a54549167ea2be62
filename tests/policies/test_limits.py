"""The limits: closed, commented, exact about money."""

import re
from collections.abc import Iterable

import pytest
from pydantic import ValidationError

from docs.reference import read_limits
from policies.limits import Limits, cents_up, dollars, micros
from policies.policy import SHIPPED

TEXT = (SHIPPED / "limits.toml").read_text()


def test_every_key_has_a_comment_that_says_what_it_is_who_may_change_it_and_why() -> None:
    found = read_limits(TEXT)
    keys = {f"{section}.{key}" for section, values in Limits.parse(TEXT).model_dump().items() for key in values}
    assert {f"{section}.{key}" for section, key, _, _ in found} == keys
    for section, key, _, comment in found:
        assert re.fullmatch(r".+\. Owner\. .+\.", comment), f"{section}.{key}"


@pytest.mark.parametrize(("old", "new"), [
    ("quorum = 1", "quorum = 0"), ("quorum = 1", "quorum = true"), ("quorum = 1", 'quorum = "1"'), ("quorum = 1", "quorum = 1.0"),
    ("two_person_quorum = 2", "two_person_quorum = 1"), ('"50.00"', '"-1"'), ('"50.00"', '"NaN"'), ('"50.00"', '"1e9"'),
    ('"50.00"', '"99999999999"'), ('"50.00"', '"1.1234567"'), ("spending = true", "spending = 1"), ("max_pending = 5", ""),
    ("[calls]", "[calls]\nmore = 1"), ("[calls]", "[more]\n[calls]"), ('["owner", "approver"]', '["viewer"]'),
    ('["owner", "approver"]', '["member"]'), ('["owner", "approver"]', '["service"]'), ("break_glass = false", "break_glass = 0"),
    ('"eastus"', '"east us"'), ('"eastus"', '""'), ("max_hours = 24", "max_hours = 0"), ("max_hours = 24", "max_hours = 9000"),
    ("price_days = 30", "price_days = 0"), ("price_days = 30", "price_days = 366"), ("price_days = 30", "price_days = true"),
    ("per_person_day = 2_000_000", "per_person_day = -1"), ("local_run = 72", "local_run = 0"), ("spend_from = 0", "spend_from = 24"),
    ("spend_to = 24", "spend_to = 25"), ("spend_from = 0", "spend_from = -1"), ("checkpoint_records = 100", "checkpoint_records = 0"),
    ("checkpoint_s = 60", "checkpoint_s = 0"), ("retention_days = 730", "retention_days = 182"),
    ("witnesses = []", 'witnesses = ["https://example"]'), ("witnesses = []", 'witnesses = ["file:relative"]'),
    ("witnesses = []", 'witnesses = ["webhook:../x"]'), ("witnesses = []", 'witnesses = ["file:/a\\nb"]'),
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


@pytest.mark.parametrize("witness", ["file:/var/log/luthier.checkpoints", "blob:audit-blob", "webhook:ops_channel"])
def test_a_witness_is_a_file_or_the_name_of_a_secret(witness: str) -> None:
    assert Limits.parse(TEXT.replace("witnesses = []", f'witnesses = ["{witness}"]')).audit.witnesses == [witness]


@pytest.mark.parametrize(("begin", "end", "hours"), [
    (0, 24, range(24)), (8, 18, range(8, 18)), (22, 6, (22, 23, 0, 1, 2, 3, 4, 5)), (8, 8, ()), (0, 0, ()), (23, 24, (23,)),
])
def test_spending_begins_in_a_window_that_may_go_over_midnight(begin: int, end: int, hours: Iterable[int]) -> None:
    limits = Limits.parse(TEXT.replace("spend_from = 0", f"spend_from = {begin}").replace("spend_to = 24", f"spend_to = {end}"))
    assert [hour for hour in range(24) if limits.opens(hour)] == sorted(hours)
    assert not limits.opens(-1) or begin > end
    assert not limits.opens(24) or begin > end


def test_a_copy_from_before_the_price_limit_keeps_its_strict_default() -> None:
    assert Limits.parse(TEXT.replace("price_days = 30\n", "", 1)).places.price_days == 30


def test_a_run_and_an_endpoint_have_each_their_longest_time() -> None:
    limits = Limits.parse(TEXT)
    assert (limits.longest_minutes(endpoint=False), limits.longest_minutes(endpoint=True)) == (24 * 60, 168 * 60)
