"""A run's report as the parts of its page."""

import json
from typing import Any

import pytest

from tests.ui.fakes_run import RUN_ID, FakeRun, report_of
from ui.pages.plain import Pages
from ui.pages.sheet import in_azure, live, moment, sheet, stamp

REPORT = report_of(FakeRun(started=0))


def test_the_sheet_has_every_part():
    found = sheet(REPORT)
    assert found["heading"] == "helpdesk" and ("Model", "bundled") in found["about"] and found["drawing"]
    assert ("lora r", "8") in found["settings"] and found["flags"] == "avx2 fma"
    assert ("Version of torch", "2.9.0") in found["environment"] and any(label == "Attempt 1 began" for label, _ in found["environment"])
    assert found["data"][0] == ("Rows", "320 to learn from, 40 to watch, 40 held out")
    assert [each["words"] for each in found["checkpoints"]] == ["complete", "not complete: it is not used"]
    assert [each["what"] for each in found["happened"]] == ["Waiting to start", "Waiting to start → Running"]
    assert found["again"] == [("model", "bundled"), ("dataset", "samples/helpdesk.jsonl")] and found["can_again"]
    assert json.loads(found["train"])[0] == [1, FakeRun(started=0).loss(1)]


BARE: dict[str, Any] = REPORT | {
    "curve": {"train": [], "eval": []}, "settings": {}, "environment": {}, "data": {"digest": "", "rows": {}}, "base": "",
    "checkpoints": [], "files": [], "happened": [], "evidence": {}, "log": {"lines": []}, "again": {},
}


@pytest.mark.parametrize("odd", [
    BARE,
    BARE | {"environment": {"attempts": 7, "versions": [], "cpu_flags": "x", "binding": 1, "at_at": "no time", "big_bytes": 10**400}},
    BARE | {"environment": {"attempts": ["x", {"at": 1e300}, {"at": float("nan")}], "versions": {"torch": {"a": []}}}},
], ids=["nothing", "other shapes", "no times"])
def test_a_report_of_any_shape_becomes_a_page(odd: dict[str, Any]):
    found = sheet(odd)
    assert found["drawing"] is None and not found["can_again"] and found["data"][0] == ("Rows", "cannot be counted")


def test_a_run_on_this_machine_has_nothing_to_tell_of_azure():
    found = sheet(REPORT)
    assert found["cloud"] == [] == found["phases"]


def test_a_run_in_azure_tells_where_on_whose_account_on_what_and_for_how_much():
    found = dict(sheet(report_of(FakeRun(started=0, paid=True)))["cloud"])
    assert (found["Region"], found["Hardware"]) == ("eastus", "T4 (Consumption-GPU-NC8as-T4)") and "@sha256:" in found["Image"]
    assert found["Signed in as"].startswith("ann@") and found["Most it can cost"].startswith("3.10 USD")
    assert found["Cost so far"].endswith("USD") and found["Settled"] == "not yet" and found["Job"].startswith("kept, expires 2026-11-27")


def test_its_phases_have_their_times_and_the_last_goes_on():
    rows = sheet(report_of(FakeRun(started=0, paid=True)))["phases"]
    assert [(each["what"], each["lasted"]) for each in rows] == [
        ("getting ready", "60 s"), ("uploading", "2 min"), ("waiting for a machine", "5 min"), ("running", "")]
    assert rows[0]["when"].startswith("2026-11-24") and rows[1]["why"] == "its folder is whole"


@pytest.mark.parametrize(("more", "words"), [
    ({"job": "deleted"}, "deleted"), ({"past_expiry": True}, "kept until somebody deletes it; past its expiry since 2026-11-27")])
def test_what_became_of_its_job_is_said(more: dict[str, Any], words: str):
    view = FakeRun(started=0, paid=True).as_json()
    found = dict(in_azure(view | {"cloud": view["cloud"] | more}, []))
    assert found["Job"].startswith(words)


def test_what_a_start_waits_for_is_said():
    view = FakeRun(started=0, paid=True).as_json()
    assert dict(in_azure(view | {"cloud": view["cloud"] | {"waiting": "waiting for a GPU"}}, []))["Azure is"] == "waiting for a GPU"


def test_a_turn_that_comes_is_no_change_of_state():
    turn = {"at": "2026-11-24T10:00:01Z", "from": "queued", "to": "queued", "reason": "its turn has come"}
    row = sheet(REPORT | {"happened": [turn]})["happened"][0]
    assert (row["what"], row["why"]) == ("Waiting to start", "its turn has come")


@pytest.mark.parametrize(("state", "mine", "buttons"), [
    ("running", True, ["stop"]), ("queued", True, ["stop"]), ("finished", True, ["evaluate"]), ("failed", True, ["resume"]),
    ("lost", True, ["resume"]), ("running", False, []), ("failed", False, []),
])
def test_a_button_stands_where_it_makes_sense_and_for_whose_run_it_is(state: str, mine: bool, buttons: list[str]):
    assert live(REPORT["view"] | {"state": state}, mine)["buttons"] == buttons


def test_a_time_that_is_none_is_a_dash():
    assert moment("nonsense") == moment(7) == stamp(1e300) == "–" and moment(None) == ""
    assert moment("2026-11-24T10:00:00Z").startswith("2026")


def test_the_page_of_a_run_in_azure_shows_all_of_that_and_one_here_none_of_it():
    def page(run: FakeRun) -> str:
        report = report_of(run)
        shown = {"sheet": sheet(report), "live": live(report["view"], True)}
        return Pages().page("run", "/runs", "owner", "owner", id=RUN_ID, told="", title="t", **shown)

    there = page(FakeRun(started=0, paid=True))
    for words in ("In Azure", "eastus", "@sha256:", "ann@example.test", "3.10 USD", "waiting for a machine", "5 min"):
        assert words in there, words
    assert 'data-testid="phases"' not in page(FakeRun(started=0))
