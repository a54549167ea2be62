"""What an approval binds: digests of a proposal and of one exact action, over RFC 8785 JSON."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from policies.audit.record import canonical
from policies.proposal import Cost, Effect, Order, Proposal, Trait, Unpriced

_BOUND = ("effects", "target", "where", "owner", "traits", "supersedes", "stop_rules", "orders", "region", "sku", "max_minutes", "leaves")


def sha256_json(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`. Raises ValueError where there is none (NaN, surrogates)."""
    return hashlib.sha256(canonical(value)).hexdigest()


def proposal_as_json(proposal: Proposal) -> dict[str, Any]:
    """A proposal as plain JSON, sets sorted, for the digest and for the book."""
    cost = proposal.cost
    priced = {"unpriced": cost.reason} if isinstance(cost, Unpriced) else {
        "likely_micros": cost.likely_micros, "ceiling_micros": cost.ceiling_micros, "currency": cost.currency,
        "basis": cost.basis, "price_date": cost.price_date,
    }
    return {
        "effects": sorted(proposal.effects), "target": proposal.target, "where": proposal.where, "cost": priced,
        "owner": proposal.owner, "traits": sorted(proposal.traits), "supersedes": proposal.supersedes,
        "card": [list(line) for line in proposal.card], "stop_rules": list(proposal.stop_rules),
        "orders": [asdict(order) for order in proposal.orders], "evidence": sorted(proposal.evidence),
        "region": proposal.region, "sku": proposal.sku, "max_minutes": proposal.max_minutes, "leaves": proposal.leaves,
        "plan": json.loads(json.dumps(proposal.plan, default=_unjson)),
    }


def proposal_from_json(found: Mapping[str, Any]) -> Proposal:
    """The proposal that the book kept."""
    cost = found["cost"]
    return Proposal(
        effects=frozenset(Effect(one) for one in found["effects"]), target=found["target"], where=found["where"],
        cost=Unpriced(cost["unpriced"]) if "unpriced" in cost else Cost(**cost),
        owner=found["owner"], traits=frozenset(Trait(one) for one in found["traits"]), supersedes=found["supersedes"],
        card=tuple((label, value) for label, value in found["card"]), stop_rules=tuple(found["stop_rules"]), plan=found["plan"],
        orders=tuple(Order(**order) for order in found.get("orders", ())), evidence=tuple(found.get("evidence", ())),
        region=found.get("region", ""), sku=found.get("sku", ""), max_minutes=found.get("max_minutes", 0),
        leaves=found.get("leaves", ""),
    )


def action_digest(
    *, tool: str, version: str, args: Mapping[str, Any], proposal: Mapping[str, Any], actor: str, environment: str, policy: str,
) -> str:
    """The digest an approval is bound to; any edit, even a reordered list, is another action."""
    return sha256_json({
        "tool": tool, "tool_version": version, "args": dict(args), "proposal": sha256_json(proposal), "target": proposal["target"],
        "actor": actor, "tenant": "local", "environment": environment, "quote": sha256_json(proposal["cost"]), "policy": policy,
    })


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What of a proposal changed so that the old yes no longer covers it, as words; empty when it still does.

    Estimates of time and memory may move. Effects, target, place, owner, traits, standing orders, the ceiling (rising)
    and every `digest` or `*_digest` in the plan (a model's, a dataset's) may not.
    """
    before, after = old["cost"], new["cost"]
    if ("unpriced" in before) != ("unpriced" in after):
        return "its cost"
    if "unpriced" not in before:
        if before["currency"] != after["currency"]:
            return "its currency"
        if after["ceiling_micros"] > before["ceiling_micros"]:
            return "its ceiling, which rose"
    for field in _BOUND:
        if old.get(field) != new.get(field):
            return f"its {field.replace('_', ' ')}"
    for path in sorted(set(_digests(old["plan"])) | set(_digests(new["plan"]))):
        if _digests(old["plan"]).get(path) != _digests(new["plan"]).get(path):
            return f"the {path.replace('_', ' ')}"
    return ""


def _digests(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, list):
        return {key: digest for index, part in enumerate(value) for key, digest in _digests(part, f"{path}{index} ").items()}
    if not isinstance(value, Mapping):
        return {}
    found: dict[str, Any] = {}
    for key, part in value.items():
        if key == "digest" or key.endswith("_digest"):
            found[f"{path}{key}"] = part
        else:
            found |= _digests(part, f"{path}{key} ")
    return found


def _unjson(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple | set | frozenset):
        return sorted(value) if isinstance(value, set | frozenset) else list(value)
    raise TypeError(f"a plan holds JSON, not {type(value).__name__}")
