"""What cards show: pure."""

import time
from dataclasses import replace

import pytest

from agent.events import Choices
from policies.verdict import ApprovalView
from tests.ui.fakes_run import ANSWERS, EVALUATED, LINES, PLAN, FakeRun
from ui.cards import answers_card, approval_card, choices_card, duration, evaluation_words, moment, money, plan_tiles, run_card, size

VIEW = ApprovalView(
    id="3f2a91c0", tool="start_finetune", status="pending", requester="owner", thread="t", digest="9f86d081", effects=("LOCAL",),
    target="run:helpdesk", where="this machine", reason="because", lines=LINES, stop_rules=("Stops after an hour",), plan=PLAN,
    ceiling="0.00", currency="USD", created_at="2026-11-24T10:00:00Z", expires_at="2026-12-01T10:00:00Z",
)


def test_a_call_with_a_plan_gets_the_plan_card_and_any_other_the_plain_one():
    assert approval_card(VIEW)["tiles"]
    assert approval_card(replace(VIEW, plan={}))["tiles"] == []


def test_a_waiting_card_is_open_and_shows_what_consent_needs():
    card = approval_card(VIEW)
    assert card["open"] and card["title"] == "Waiting for your decision"
    assert card["money"] == "free" and card["digest"] == "9f86d081" and card["expires_at"] == "2026-12-01T10:00:00Z"
    assert card["requester"] == "owner" and card["where"] == "this machine" and card["stop_rules"] == ["Stops after an hour"]
    lines = {fact["label"]: fact["value"] for fact in card["lines"]}
    assert lines["Leaves this machine"] == "nothing" and lines["Where"] == "this machine"


def test_every_line_is_on_the_card_and_figures_and_exact_arguments_are_below_a_fold():
    card = approval_card(replace(VIEW, lines=(*LINES, ("Cost", "0.00 USD"), ("Exact arguments", "{}"), ("Time", "6 min"))))
    assert [fact["label"] for fact in card["details"]] == ["Cost", "Exact arguments", "Time"]
    assert {fact["label"] for fact in card["lines"] + card["details"]} >= {*dict(LINES), "Where", "Asked by"}
    assert [fact["label"] for fact in card["details"]].count("Cost") == 1


@pytest.mark.parametrize("status", ["approved", "consumed", "denied", "withdrawn", "expired", "revoked", "superseded"])
def test_a_decided_card_offers_nothing_to_press(status: str):
    card = approval_card(replace(VIEW, status=status))  # pyright: ignore[reportArgumentType]
    assert not card["open"] and card["title"] != "Waiting for your decision"


@pytest.mark.parametrize(("quorum", "yes", "words"), [(1, 0, ""), (2, 0, "0 of 2 said yes"), (2, 1, "1 of 2 said yes")])
def test_a_card_says_how_far_the_needed_yeses_have_come(quorum: int, yes: int, words: str):
    assert approval_card(replace(VIEW, quorum=quorum, yes=yes))["progress"] == words


@pytest.mark.parametrize(("status", "outcome", "again"), [
    ("expired", "", True), ("revoked", "", True), ("approved", "not started: the price rose", True), ("approved", "", False),
    ("pending", "", False), ("denied", "", False), ("withdrawn", "", False), ("superseded", "", False), ("consumed", "ok", False),
])
def test_what_could_not_begin_may_be_asked_again(status: str, outcome: str, again: bool):
    assert approval_card(replace(VIEW, status=status, outcome=outcome))["again"] is again  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("amount", "words"), [("0.00", "free"), ("unpriced", "unknown cost"), ("4.20", "at most 4.20 USD")])
def test_money_is_never_silent(amount: str, words: str):
    assert money(amount, "USD") == words


def test_the_plans_four_figures_name_a_common_unit_once():
    assert plan_tiles(PLAN, "0.00", "USD") == [
        {"label": "Steps", "value": "60", "note": ""}, {"label": "Time", "value": "4 – 8 min", "note": "likely 6 min"},
        {"label": "Memory", "value": "1.1 – 1.9 GiB", "note": "likely 1.4 GiB"}, {"label": "Cost", "value": "free", "note": ""},
    ]


def test_a_plan_without_figures_shows_the_cost_alone():
    tiles = plan_tiles({"model": "x", "time": None, "memory": "much"}, "unpriced", "USD")
    assert tiles == [{"label": "Cost", "value": "unknown cost", "note": ""}]


@pytest.mark.parametrize(("seconds", "words"), [
    (0.2, "1 s"), (89, "89 s"), (100, "2 min"), (5399, "1 h 30 min"), (7800, "2 h 10 min"), (7200, "2 h"),
])
def test_durations_for_people(seconds: float, words: str):
    assert duration(seconds) == words


def test_sizes_for_people():
    assert (size(2048), size(5 * 1024**2), size(1.5 * 1024**3)) == ("2 KiB", "5 MiB", "1.5 GiB")


@pytest.mark.parametrize(("stopped", "stop", "resume"), [(None, True, False), (1001.0, False, True)])
def test_a_run_offers_stop_while_it_runs_and_resume_afterwards(stopped: float | None, stop: bool, resume: bool):
    card = run_card(FakeRun(started=1000.0 if stopped else time.time(), stopped=stopped).as_json())
    assert (card["can_stop"], card["can_resume"]) == (stop, resume)
    assert card["events"] == f"/runs/{card['id']}/events"


def test_a_run_s_card_leads_to_its_page_its_log_and_its_stream():
    card = run_card(FakeRun(started=time.time()).as_json())
    assert [card[name] for name in ("page", "log", "events")] == [f"/runs/{card['id']}{end}" for end in ("", "/log", "/events")]


@pytest.mark.parametrize(("result", "words"), [
    (EVALUATED, "The tuned model is better on the held-out rows. Exact answers: +60 points (95 % interval +43 to +75, p = 4e-05, "
                "40 held-out rows)."),
    ({"gain": None, "gain_served": None, "verdict_text": "Nothing was scored."}, "Nothing was scored."),
    ({"run_id": "x"}, ""),
], ids=["measured", "without a score", "no evaluation"])
def test_an_evaluation_is_told_in_two_sentences(result: dict[str, object], words: str):
    assert evaluation_words(result) == words


def test_answers_are_labelled_with_model_adapter_precision_and_speed():
    card = answers_card({"prompt": "hello", "answers": ANSWERS})
    assert card is not None
    base, tuned = card["answers"]
    assert base["adapter"] == "" and tuned["adapter"].startswith("helpdesk")
    assert base["precision"] == tuned["precision"] == "int8" and base["tokens_per_s"] == 41.3


@pytest.mark.parametrize("result", [{}, {"answers": []}, {"answers": "text"}, {"answers": None}])
def test_a_result_without_answers_makes_no_card(result: dict[str, object]):
    assert answers_card(result) is None


def test_choices_become_buttons_that_say_a_sentence():
    card = choices_card(Choices("t", "1", (("Tune", "Tune the bundled model"),)))
    assert card["options"] == [{"label": "Tune", "sentence": "Tune the bundled model"}]


def test_a_time_is_shown_to_the_minute_in_the_zone_of_the_machine(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "Etc/GMT-2")
    time.tzset()
    try:
        assert moment("2026-12-01T07:30:37.358214Z") == "2026-12-01 09:30 +02"
    finally:
        monkeypatch.undo()
        time.tzset()


PAID = PLAN | {
    "limit_s": 7080,
    "cost": {"likely": "0.42", "ceiling": "3.10", "currency": "USD", "price_date": "2026-11-01", "per_hour": "1.559 USD an hour"},
}


def test_a_paid_plan_shows_its_money_first_then_rate_and_time_limit():
    tiles = plan_tiles(PAID, "3.10", "USD")
    assert tiles[:3] == [
        {"label": "Cost", "value": "at most 3.10 USD", "note": "likely 0.42 USD"},
        {"label": "Rate", "value": "1.559 USD/h", "note": "list price, 2026-11-01"},
        {"label": "Ends after", "value": "1 h 58 min", "note": "at the latest"},
    ]
    assert [tile["label"] for tile in tiles[3:]] == ["Steps", "Time", "Memory"]


def test_a_paid_deployment_shows_the_same_from_its_own_plan():
    plan = {"per_hour": "1.559 USD an hour", "price_date": "2026-11-01", "likely_micros": 420_000, "hours": 24}
    assert [(tile["label"], tile["value"]) for tile in plan_tiles(plan, "38.00", "USD")] == [
        ("Cost", "at most 38.00 USD"), ("Rate", "1.559 USD/h"), ("Ends after", "24 h")]


@pytest.mark.parametrize(
    "odd", [{"cost": "much"}, {"cost": {"likely": 3, "per_hour": 4}}, {"limit_s": "long"}, {"likely_micros": True}], ids=str)
def test_a_paid_plan_of_odd_values_still_shows_its_ceiling(odd: dict[str, object]):
    assert plan_tiles(odd, "3.10", "USD")[0]["value"] == "at most 3.10 USD"


@pytest.mark.parametrize(("ceiling", "paid"), [("0.00", False), ("3.10", True), ("unpriced", True)])
def test_what_may_cost_money_is_marked_as_paid(ceiling: str, paid: bool):
    assert approval_card(replace(VIEW, ceiling=ceiling))["paid"] is paid
