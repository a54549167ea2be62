"""Whose turn it is on this machine, and when: pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    """One run that waits, as the queue sees it."""

    id: str
    owner: str
    since: str
    """When it joined, as a text that sorts in that order."""
    seconds: float | None = None
    """How long it is likely to take; None when nobody knows."""


def in_turn(waiting: Sequence[Waiting], served: Mapping[str, str]) -> list[Waiting]:
    """The order in which waiting runs get the machine: owners take turns, each with the oldest of theirs.

    `served` maps an owner to when they last had the machine; who had it longest ago, or never, comes first, and among those who never
    had it the one who has waited longest. So a person with one run waits for at most one run of everybody else.
    """
    left: dict[str, list[Waiting]] = {}
    for each in sorted(waiting, key=lambda each: (each.since, each.id)):
        left.setdefault(each.owner, []).append(each)
    last: dict[str, tuple[int, str]] = {owner: (0, served.get(owner, "")) for owner in left}
    order: list[Waiting] = []
    while left:
        owner = min(left, key=lambda owner: (last[owner], left[owner][0].since, owner))
        order.append(left[owner].pop(0))
        last[owner] = (len(order), "")
        if not left[owner]:
            del left[owner]
    return order


def expected_starts(order: Sequence[Waiting], busy_s: float | None) -> dict[str, float | None]:
    """Seconds until each run's turn: what the one at work still needs, and all that stand before it; None from the first unknown on."""
    at, found = busy_s, {}
    for each in order:
        found[each.id] = at
        at = None if at is None or each.seconds is None else at + each.seconds
    return found
