"""What a tool says it is about to do, in the policy's own words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from pydantic import JsonValue


class Effect(StrEnum):
    """What a call does to the world; a proposal carries a set, and the strictest verdict wins."""

    READ = "READ"
    LOCAL = "LOCAL"
    SPEND = "SPEND"
    EXPOSE = "EXPOSE"
    DESTROY = "DESTROY"


class Trait(StrEnum):
    """How a call touches this machine, so that a rule can tell heavy from light without a tool's name."""

    OCCUPIES = "occupies"
    """Takes the machine for long: a training run, a served model."""
    IMPORTS = "imports"
    """Brings in data from outside the allowed folders."""
    STOPS = "stops"
    """Ends something that runs, and keeps its data. Never asks."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Money in integer micro-units of `currency` (1 USD = 1_000_000), with the ceiling that is reserved."""

    likely_micros: int
    ceiling_micros: int
    currency: Literal["USD"] = "USD"
    basis: str = ""
    price_date: str = ""


@dataclass(frozen=True, slots=True)
class Unpriced:
    """A cost nobody could work out. It is never zero."""

    reason: str


FREE = Cost(0, 0, basis="runs on this machine")


@dataclass(frozen=True, slots=True)
class Order:
    """A standing order: a stop that comes with the approval, and that the reconciler proposes as `system` when it is due."""

    kind: Literal["deadline", "cap", "expiry", "silence", "no_start", "finished", "second_execution"]
    text: str
    """The rule as the card shows it."""
    tool: str
    """The tool that stops the target."""
    argument: str
    """The name of its one argument; its value is the id that the performed call gave back under the same name."""
    due_s: int | None = None
    """Seconds after the call began; None: due when the stopping tool's own proposal brings the evidence."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposed call. Built without side effects; every field is covered by the action digest."""

    effects: frozenset[Effect]
    target: str
    """What is acted on, by kind and id: `machine`, `run:4k2j8m9qxz`, `dataset:helpdesk`, `model:bundled`."""
    where: str = "this machine"
    cost: Cost | Unpriced = FREE
    owner: str | None = None
    """The person who owns the target; None when it is new or belongs to nobody."""
    traits: frozenset[Trait] = frozenset()
    supersedes: str = ""
    """A newer proposal of the same tool with the same non-empty key replaces the waiting one (a run id or a name)."""
    card: tuple[tuple[str, str], ...] = ()
    """Label and value of each line of the consent card, written by the tool from its arguments; plain text."""
    stop_rules: tuple[str, ...] = ()
    """Stop rules that the target keeps by itself, as the card shows them."""
    plan: Mapping[str, JsonValue] = field(default_factory=dict)
    """The same facts as data, for a plan card and for JSON."""
    orders: tuple[Order, ...] = ()
    """Standing orders that come with the approval; the card shows their texts after `stop_rules`."""
    evidence: tuple[str, ...] = ()
    """For a stop: the kinds of standing order whose condition the tool itself found to hold now."""
    region: str = ""
    """The cloud region; empty on this machine."""
    sku: str = ""
    """The paid hardware, by the provider's own name; empty on this machine."""
    max_minutes: int = 0
    """How long it may run and cost money; 0 where nothing is paid by time."""
    leaves: str = ""
    """What data leaves the machine it is on, in words; empty when none does."""
