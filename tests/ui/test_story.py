"""A call's records as a story: pure."""

import copy
import random
from typing import Any

import pytest

from tests.ui.fakes_office import APPROVAL, RECORDS, TOOL, record
from ui.pages.story import dollars, identity_of, row_of, story_of

CALL = [each for each in RECORDS if each["tool"]["call_id"] == "c1"]


def part(records: list[dict[str, Any]], name: str) -> dict[str, str]:
    """The rows of one part."""
    return dict(next(each for each in story_of(records) if each["name"] == name)["rows"])


def test_the_parts_come_in_the_order_in_which_things_happen():
    assert [each["name"] for each in story_of(CALL)] == ["Asked", "Judged", "Decided", "Done", "Paid"]


def test_each_part_holds_what_its_name_says():
    assert part(CALL, "Asked")["· dataset"] == "samples/helpdesk.jsonl" and part(CALL, "Asked")["By"] == "owner (web)"
    assert part(CALL, "Judged")["No. 3"] == "a person must say yes, by spend-with-yes"
    assert part(CALL, "Decided")["Granted"].startswith("ann (web)") and part(CALL, "Decided")["Approved by"] == "ann"
    assert part(CALL, "Done")["Result"] == f"120 bytes, SHA-256 {'b' * 64}"
    assert part(CALL, "Paid") == {"Likely": "2.00 USD", "Reserved": "4.20 USD", "Paid": "1.25 USD"}


@pytest.mark.parametrize(("record_", "name", "words"), [
    (RECORDS[6], "Decided", "Nobody had to decide"), (RECORDS[6], "Done", "Nothing was begun"), (RECORDS[6], "Paid", "It costs nothing"),
], ids=lambda each: each if isinstance(each, str) else "")
def test_what_did_not_happen_is_said(record_: dict[str, Any], name: str, words: str):
    found = next(each for each in story_of([record_]) if each["name"] == name)
    assert not found["rows"] and found["none"].startswith(words)


def test_what_is_no_call_simply_happened():
    (only,) = story_of([RECORDS[0]])
    assert only["name"] == "Happened" and ("source", "shipped") in only["rows"]


@pytest.mark.parametrize(("number", "identity"), [(3, "c1"), (1, ""), (2, "")])
def test_a_story_is_named_by_its_call(number: int, identity: str):
    assert identity_of(RECORDS[number - 1]) == identity
    assert identity_of(record(9, "approval", "batch", approval=APPROVAL)) == "3f2a91c0"


@pytest.mark.parametrize("seed", range(20))
def test_any_subset_of_the_records_still_tells_something(seed: int):
    chance = random.Random(seed)
    some = copy.deepcopy(chance.sample(list(RECORDS), chance.randint(1, len(RECORDS))))
    for each in some:
        for name in ("policy", "approval", "cost", "result"):
            if chance.random() < 0.4:
                each[name] = {key: [] if isinstance(value, list) else None for key, value in each[name].items()}
    assert all(row_of(each)["what"] for each in some) and story_of(some)


@pytest.mark.parametrize(("micros", "words"), [
    (0, "0.00"), (1_250_000, "1.25"), (1, "0.000001"), (1_234_500, "1.2345"), (-4_200_000, "-4.20"),
])
def test_money_is_exact(micros: int, words: str):
    assert dollars(micros) == words


def test_a_row_says_what_became_of_it():
    row = row_of(record(6, "outcome", "ended", tool=TOOL, result={"status": "not_started"}))
    assert (row["outcome"], row["outcome_tone"], row["tool"]) == ("not started", "wait", "start_finetune")
