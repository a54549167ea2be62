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
    quorum: Count
    two_person_usd: Money
    two_person_quorum: Annotated[int, Field(ge=2, le=1000)]
    roles: list[Literal["owner", "member"]]
    max_pending: Count
    local_hours: Annotated[int, Field(ge=1, le=8760)]
    other_hours: Annotated[int, Field(ge=1, le=8760)]
    execution_minutes: Annotated[int, Field(ge=1, le=1440)]
    denied_alarm: Count
    denied_minutes: Count


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
    calls: Calls

    @classmethod
    def parse(cls, text: str) -> "Limits":
        """Read the text of a limits.toml. Raises ValueError (pydantic or TOML) that names the key."""
        return cls.model_validate(tomllib.loads(text))

    def quorum(self, cents: int) -> int:
        """How many people must say yes to a ceiling of this many cents."""
        above = cents >= cents_up(micros(self.approval.two_person_usd))
        return max(self.approval.quorum, self.approval.two_person_quorum) if above and cents > 0 else self.approval.quorum
