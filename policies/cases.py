"""Cases of a policy, given / when / then: what an owner expects of the rules, checked by `policy test` and by the tests."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from policies.judge import Facts, judge
from policies.limits import Limits, Money, micros
from policies.people import Caller, Role, Via
from policies.policy import SHIPPED, Policy
from policies.proposal import Cost, Effect, Proposal, Trait, Unpriced
from policies.verdict import Allow, Ask, Verdict

Word = Literal["allow", "ask", "deny"]
Changes = Mapping[str, Mapping[str, JsonValue]]
"""Section → key → value of limits.toml, for one case or for a file of cases."""


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Given(_Closed):
    """Who asks, and what the book knows."""

    person: str = "ann"
    role: Role | Literal["", "guest"] = "owner"
    """Empty: nobody we know; guest: a role that no rule names."""
    via: Via = "cli"
    solo: bool = True
    yes: frozenset[str] = frozenset()
    """Who has said yes to exactly this."""
    room_usd: Money = "50.00"
    """The least that any budget still leaves."""
    hour: int = 12
    order_due: bool = False
    broken_glass: bool = False
    limits: Changes = {}


class When(_Closed):
    """What is proposed."""

    effects: frozenset[Effect]
    target: str = "run:x"
    owner: str | None = None
    traits: frozenset[Trait] = frozenset()
    ceiling_usd: Money = "0"
    unpriced: bool = False
    region: str = ""
    sku: str = ""
    max_minutes: int = 0


class Then(_Closed):
    """What the verdict must be."""

    verdict: Word
    quorum: int | None = None
    rules: tuple[str, ...] | None = None
    says: str = ""
    """Words that the reason must hold."""


class Case(_Closed):
    """One case."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    given: Given = Given()
    when: When
    then: Then

    def judged(self, policy: Policy, pinned: Changes | None = None) -> Verdict:
        """The verdict under a policy with the limits that the file pins and those of this case. Raises ValueError on a wrong one."""
        policy = replace(policy, limits=_changed(_changed(policy.limits, pinned or {}), self.given.limits))
        given, when = self.given, self.when
        cost = Unpriced("nobody knows") if when.unpriced else Cost(0, micros(when.ceiling_usd))
        proposal = Proposal(
            when.effects, when.target, cost=cost, owner=when.owner, traits=when.traits,
            region=when.region, sku=when.sku, max_minutes=when.max_minutes,
        )
        facts = Facts(
            given.role, given.solo, micros(given.room_usd), given.yes,
            order_due=given.order_due, hour=given.hour, broken_glass=given.broken_glass,
        )
        return judge(proposal, "tool", Caller(given.person, given.via), facts, policy)

    def missed(self, said: Verdict) -> str:
        """How a verdict differs from what this case wants; empty when it does not."""
        if word(said) != self.then.verdict:
            return f"it is {word(said)}, not {self.then.verdict}"
        if self.then.quorum is not None and isinstance(said, Ask) and said.quorum != self.then.quorum:
            return f"{said.quorum} must say yes, not {self.then.quorum}"
        if self.then.rules is not None and said.rules != self.then.rules:
            return f"it follows from {', '.join(said.rules) or 'no rule'}, not from {', '.join(self.then.rules) or 'none'}"
        if self.then.says and self.then.says not in reason_of(said):
            return f"the reason does not say “{self.then.says}”"
        return ""


class CaseFile(_Closed):
    """One file of cases, and the limits that hold for all of them."""

    limits: Changes = {}
    case: tuple[Case, ...] = ()


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What became of one case."""

    file: str
    name: str
    wanted: str
    got: str
    missed: str = ""
    """How the verdict differs; empty when the case holds."""
    reason: str = ""
    """What the policy said."""

    @property
    def ok(self) -> bool:
        """Whether the case holds."""
        return not self.missed

    @property
    def words(self) -> str:
        """One line for a person: the verdict, or how it differs and what the policy said."""
        return self.got if self.ok else " ".join(filter(None, (f"{self.missed[0].upper()}{self.missed[1:]}.", self.reason)))


def word(verdict: Verdict) -> Word:
    """A verdict in one word."""
    return "allow" if isinstance(verdict, Allow) else "ask" if isinstance(verdict, Ask) else "deny"


def reason_of(verdict: Verdict) -> str:
    """The reason of a verdict; an allowed call needs none."""
    return "" if isinstance(verdict, Allow) else verdict.reason


def cases_of(source: Path) -> Path:
    """The folder with the cases of a policy's folder: its own, else the shipped ones."""
    own = source / "cases"
    return own if own.is_dir() else SHIPPED / "cases"


def check_folder(folder: Path) -> tuple[list[CaseResult], Policy]:
    """Every case of a home's policy as it lies there now, and that policy; the shipped one where the home has none."""
    policy = Policy.load(folder)
    return run_cases(policy, cases_of(policy.source)), policy


def load_cases(path: Path) -> CaseFile:
    """Read one file. Raises ValueError that names what is wrong in it."""
    found = CaseFile.model_validate(tomllib.loads(path.read_text("utf-8")))
    names = [case.name for case in found.case]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"two cases have the name {sorted(twice)[0]}")
    return found


def run_cases(policy: Policy, folder: Path) -> list[CaseResult]:
    """Judge every case of every `*.toml` in a folder; a file or a case that cannot be read is a case that does not hold."""
    results = []
    for path in sorted(folder.glob("*.toml")):
        try:
            found = load_cases(path)
        except (ValueError, OSError) as error:
            results.append(CaseResult(path.name, "the file", "readable", "unreadable", _short(error)))
            continue
        for case in found.case:
            try:
                said = case.judged(policy, found.limits)
            except ValueError as error:
                results.append(CaseResult(path.name, case.name, case.then.verdict, "unreadable", _short(error)))
                continue
            results.append(CaseResult(path.name, case.name, case.then.verdict, word(said), case.missed(said), reason_of(said)))
    return results


def _changed(limits: Limits, changes: Changes) -> Limits:
    if not changes:
        return limits
    shape: dict[str, Any] = limits.model_dump()
    for section, values in changes.items():
        shape[section] = {**shape.get(section, {}), **values}
    return Limits.model_validate(shape)


def _short(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(step) for step in first['loc'])}: {first['msg']}"
    return str(error)[:300]
