"""What an approval binds: any change of a call is another digest."""

from typing import Any

import pytest

from policies.digest import action_digest, changed, proposal_as_json, proposal_from_json
from policies.proposal import Cost, Effect, Proposal, Trait, Unpriced

PROPOSAL = Proposal(
    frozenset({Effect.SPEND, Effect.LOCAL}), "run:x", "azure", Cost(1, 2, basis="list", price_date="2026-11-01"), "ann",
    frozenset({Trait.OCCUPIES, Trait.STOPS}), "x", (("Model", "m"),), ("Ends after 2 h.",),
    {"steps": 60, "rate": 0.5, "dataset": {"digest": "aa"}, "models": [{"model_digest": "bb"}]},
)
SHAPE = proposal_as_json(PROPOSAL)
ACTION: dict[str, Any] = {
    "tool": "start", "version": "1", "args": {"hours": 2, "list": [1, 2]}, "proposal": SHAPE, "actor": "ann",
    "environment": "e", "policy": "p",
}


def test_a_proposal_comes_back_from_the_book_as_it_went_in() -> None:
    assert proposal_from_json(SHAPE) == PROPOSAL
    unpriced = Proposal(frozenset({Effect.READ}), "x", cost=Unpriced("old list"))
    assert proposal_from_json(proposal_as_json(unpriced)) == unpriced


def test_the_same_action_has_the_same_digest_whatever_the_order_of_names() -> None:
    assert action_digest(**ACTION) == action_digest(**{**ACTION, "args": {"list": [1, 2], "hours": 2}})


@pytest.mark.parametrize("change", [
    {"tool": "stop"}, {"version": "2"}, {"args": {"hours": 20, "list": [1, 2]}}, {"args": {"hours": 2, "list": [2, 1]}},
    {"args": {"hours": "2", "list": [1, 2]}}, {"args": {"hours": 2, "list": [1, 2], "more": None}}, {"actor": "bob"}, {"environment": "f"},
    {"policy": "q"}, *({"proposal": {**SHAPE, field: other}} for field, other in (
        ("effects", ["SPEND"]), ("target", "run:y"), ("where", "here"), ("owner", None), ("traits", []), ("supersedes", ""),
        ("card", [["Model", "n"]]), ("stop_rules", []), ("plan", {}), ("cost", {**SHAPE["cost"], "ceiling_micros": 3}),
        ("cost", {**SHAPE["cost"], "price_date": "2026-11-02"}), ("cost", {"unpriced": ""}))),
], ids=str)
def test_any_change_is_another_digest(change: dict[str, Any]) -> None:
    assert action_digest(**{**ACTION, **change}) != action_digest(**ACTION)


def other(**fields: Any) -> dict[str, Any]:
    """The proposal with other fields."""
    return {**SHAPE, **fields}


@pytest.mark.parametrize(("now", "word"), [
    (other(), ""), (other(card=[["Time", "3 min"]]), ""), (other(cost={**SHAPE["cost"], "ceiling_micros": 1}), ""),
    (other(plan={**SHAPE["plan"], "steps": 61, "rate": 0.6}), ""),
    (other(cost={**SHAPE["cost"], "ceiling_micros": 3}), "its ceiling, which rose"), (other(cost={"unpriced": "x"}), "its cost"),
    (other(cost={**SHAPE["cost"], "currency": "EUR"}), "its currency"), (other(where="here"), "its where"),
    (other(plan={**SHAPE["plan"], "dataset": {"digest": "cc"}}), "the dataset digest"),
    (other(plan={**SHAPE["plan"], "dataset": {}}), "the dataset digest"),
    (other(plan={**SHAPE["plan"], "models": [{"model_digest": "cc"}]}), "the models 0 model digest"),
    (other(stop_rules=[]), "its stop rules"), (other(effects=["LOCAL"]), "its effects"), (other(traits=[]), "its traits"),
])
def test_what_a_yes_still_covers(now: dict[str, Any], word: str) -> None:
    assert changed(SHAPE, now) == word
