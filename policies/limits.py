"""How much may happen: the closed model of limits.toml."""

import tomllib
from decimal import ROUND_CEILING, Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MICROS = 1_000_000
MICROS_PER_CENT = 10_000
MAX_CENTS = 10**12
"""The largest amount that reaches a rule, so that no addition in one can overflow."""


def _money(text: str) -> str:
    amount = Decimal(text)
    if not amount.is_finite() or not 0 <= amount <= MAX_CENTS // 100:
        raise ValueError("an amount of money between 0 and 10000000000")
    return text


Money = Annotated[str, Field(pattern=r"^\d{1,11}(\.\d{1,6})?$"), AfterValidator(_money)]
Count = Annotated[int, Field(ge=1, le=1000)]
Hours = Annotated[int, Field(ge=1, le=8760)]
Place = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,63}$")]
Witness = Annotated[str, Field(pattern=r"^(file:/[^\x00-\x1f]{1,400}|(blob|webhook):[A-Za-z0-9_.-]{1,64})$")]


def micros(amount: str) -> int:
    """A decimal text in dollars as integer micro-units."""
    return int(Decimal(amount) * MICROS)


def cents_up(amount: int) -> int:
    """Micro-units as whole cents, rounded up: what a rule compares."""
    return -(-amount // MICROS_PER_CENT)


def dollars(amount: int) -> str:
    """Micro-units as a decimal text with two places, rounded up so that a ceiling is never understated."""
    return str((Decimal(amount) / MICROS).quantize(Decimal("0.01"), rounding=ROUND_CEILING))


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Budget(_Closed):
    """Caps on reserved plus spent money."""

    spending: bool
    per_run_usd: Money
    per_person_day_usd: Money
    team_month_usd: Money


class Approval(_Closed):
    """Who must say yes, and for how long a yes is good."""

    self_approval: bool
    break_glass: bool
    quorum: Count
    two_person_usd: Money
    two_person_quorum: Annotated[int, Field(ge=2, le=1000)]
    roles: list[Literal["owner", "approver"]]
    max_pending: Count
    local_hours: Hours
    other_hours: Hours
    execution_minutes: Annotated[int, Field(ge=1, le=1440)]
    denied_alarm: Count
    denied_minutes: Count


class Places(_Closed):
    """Where and on what money may be spent, and for how long at a time; an empty list allows none."""

    regions: list[Place]
    skus: list[Place]
    max_hours: Hours
    price_days: Annotated[int, Field(ge=1, le=365)] = 30
    """A copy of the limits that is older than this key keeps its strict default."""


class Tokens(_Closed):
    """What a hosted brain may use."""

    per_person_day: Annotated[int, Field(ge=0, le=10**12)]


class HoursOfWork(_Closed):
    """How long things may live, and at which hours of the UTC day spending may begin."""

    local_run: Hours
    endpoint: Hours
    spend_from: Annotated[int, Field(ge=0, le=23)]
    spend_to: Annotated[int, Field(ge=0, le=24)]


class Audit(_Closed):
    """How often the log is signed, who else is told, and how long it is kept."""

    checkpoint_records: Annotated[int, Field(ge=1, le=100_000)]
    checkpoint_s: Annotated[int, Field(ge=1, le=86_400)]
    witnesses: list[Witness]
    retention_days: Annotated[int, Field(ge=183, le=36_500)]


class Calls(_Closed):
    """Time and size of calls."""

    timeout_s: Annotated[float, Field(gt=0, le=604_800)]
    propose_timeout_s: Annotated[float, Field(gt=0, le=3600)]
    judge_timeout_s: Annotated[float, Field(gt=0, le=60)]
    busy_retries: Annotated[int, Field(ge=0, le=100)]
    at_once: Count
    args_bytes: Annotated[int, Field(ge=1000, le=10_000_000)]
    result_bytes: Annotated[int, Field(ge=1000, le=100_000_000)]


class Limits(_Closed):
    """All of limits.toml; an unknown key is refused."""

    budget: Budget
    approval: Approval
    places: Places
    tokens: Tokens
    hours: HoursOfWork
    audit: Audit
    calls: Calls

    @classmethod
    def parse(cls, text: str) -> "Limits":
        """Read the text of a limits.toml. Raises ValueError (pydantic or TOML) that names the key."""
        return cls.model_validate(tomllib.loads(text))

    def quorum(self, cents: int) -> int:
        """How many people must say yes to a ceiling of this many cents."""
        above = cents >= cents_up(self.two_person_micros())
        return max(self.approval.quorum, self.approval.two_person_quorum) if above and cents > 0 else self.approval.quorum

    def two_person_micros(self) -> int:
        """The ceiling from which on money needs several people, in micro-units."""
        return micros(self.approval.two_person_usd)

    def opens(self, hour: int) -> bool:
        """Whether spending may begin in this UTC hour; a window that ends before it begins goes over midnight."""
        begin, end = self.hours.spend_from, self.hours.spend_to
        return begin <= hour < end if begin <= end else hour >= begin or hour < end

    def longest_minutes(self, *, endpoint: bool) -> int:
        """The longest time that one approval may pay for: of an endpoint, or of a run."""
        return 60 * (self.hours.endpoint if endpoint else self.places.max_hours)
