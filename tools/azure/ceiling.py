"""The most that something in the cloud may cost, and what it likely costs: pure, in decimals, rounded up to whole micro-units at the end.

The ceiling of a run is rate × replicas × [time limit × (1 + platform retries) + start] × attempts + storage + logs. Nothing is ever
subtracted from it, no free grant and no idle rate.
"""

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from policies.limits import MICROS, dollars
from policies.proposal import Cost
from tools.azure.rates import Rate

START_S = 600
"""Seconds that a replica may be paid for while it is placed, pulls its image and starts; paid once an attempt."""
LIKELY_START_S = 240
"""What starting usually takes, in seconds."""
STORAGE_GIB_MONTH = Decimal("0.10")
"""US dollars a month that a GiB on a file share costs at most, its transactions included: above every published standard rate."""
LOG_GIB = Decimal("4.00")
"""US dollars that a GiB of logs costs to take in at most: above every published pay-as-you-go rate."""
RUN_LOGS_GIB = Decimal("0.05")
"""GiB of logs that one attempt of a run may write."""
KEEP_DAYS = 30
"""For how many days the files of a run are counted."""
ATTEMPTS = 2
"""How often a run may be started under one approval: a start that the platform fails may be repeated once."""
SHORTEST_S, SPARE_S, STEP_S = 1800, 1200, 900
"""A time limit is at least this long, has this much to spare for starting, and is a multiple of the last."""
_MONTH_DAYS = 30


@dataclass(frozen=True, slots=True)
class Money:
    """What it may cost, in integer micro-units of US dollars."""

    likely_micros: int
    ceiling_micros: int
    assumptions: tuple[str, ...] = ()
    basis: str = ""
    price_date: str = ""

    @property
    def cost(self) -> Cost:
        """As a proposal carries it."""
        return Cost(self.likely_micros, self.ceiling_micros, basis=self.basis, price_date=self.price_date)


def ceiling(rate: Rate, timeout_s: int, attempts: int = 1, storage_gib: float = 0.0, *, likely_s: float | None = None, retries: int = 0,
            replicas: int = 1, keep_days: int = KEEP_DAYS) -> Money:
    """The money of a run. `timeout_s` is the platform's own time limit for one attempt; `likely_s` how long the work likely takes.

    Raises ValueError where a figure is below what makes sense, so that a mistake never makes something cheap.
    """
    if timeout_s < 1 or attempts < 1 or replicas < 1 or retries < 0 or storage_gib < 0 or keep_days < 0:
        raise ValueError("a ceiling needs a time limit, attempts and replicas of at least one, and nothing negative")
    paid_s = (timeout_s * (1 + retries) + START_S) * attempts * replicas
    most = rate.per_second * paid_s + _aside(attempts, storage_gib, keep_days)
    work_s = timeout_s if likely_s is None else min(max(likely_s, 0.0), timeout_s)
    likely = rate.per_second * replicas * (Decimal(str(work_s)) + LIKELY_START_S) + _aside(1, storage_gib, keep_days) / 2
    ceiling_micros = up(most)
    times = f" × {1 + retries}" if retries else ""
    several = f" × {_many(replicas, 'replica')}" if replicas > 1 else ""
    basis = (f"{rate.per_second.normalize():f} USD a second × ({timeout_s} s{times} + {START_S} s to start) × {_many(attempts, 'attempt')}"
             f"{several} + {dollars(up(_aside(attempts, storage_gib, keep_days)))} USD for storage and logs")
    said = (
        rate.words() + ".",
        f"Each of at most {_many(attempts, 'attempt')} is cut off by Azure after {minutes(timeout_s)}; up to "
        f"{minutes(START_S)} more are counted for starting.",
        f"Storage and logs are an allowance of {dollars(up(_aside(attempts, storage_gib, keep_days)))} USD: {_size(storage_gib)} on the "
        f"share for {keep_days} days, and the logs.",
        "The free monthly grant is not subtracted.",
    )
    return Money(min(up(likely), ceiling_micros), ceiling_micros, said, basis, rate.price_date)


def app_ceiling(rate: Rate, hours: float, replicas: int = 1, storage_gib: float = 0.0, *, likely_hours: float = 1.0) -> Money:
    """The money of an endpoint that is up until it expires: rate × most replicas × hours; `likely_hours` is how long it answers."""
    if hours <= 0 or replicas < 1 or storage_gib < 0:
        raise ValueError("an endpoint needs hours above zero, at least one replica, and nothing negative")
    seconds = Decimal(str(hours)) * 3600 + START_S
    aside = _aside(1, storage_gib, max(1, int(hours // 24) + 1))
    most = up(rate.per_second * replicas * seconds + aside)
    likely = up(rate.per_second * min(Decimal(str(hours)), Decimal(str(likely_hours))) * 3600 + aside / 2)
    basis = (f"{rate.hourly()} × {_many(replicas, 'replica')} × {hours:g} hours + {START_S} s to start"
             f" + {dollars(up(aside))} USD for storage and logs")
    said = (
        rate.words() + ".",
        f"The ceiling is what {_many(replicas, 'replica')} up all the {hours:g} hours would cost; nothing is "
        "paid while it sleeps, and each waking pays for its start and for five minutes after the last question.",
        "The free monthly grant is not subtracted.",
    )
    return Money(min(likely, most), most, said, basis, rate.price_date)


def kept_ceiling(storage_gib: float, logs_gib: float, days: int) -> Money:
    """The money of what is merely kept, such as an empty share and its logs, for some days."""
    if storage_gib < 0 or logs_gib < 0 or days < 1:
        raise ValueError("what is kept has no negative size and is kept for at least a day")
    most = up(_stored(storage_gib, days) + Decimal(str(logs_gib)) * LOG_GIB)
    basis = (f"{_size(storage_gib)} kept for {days} days at {STORAGE_GIB_MONTH} USD a GiB and month, {_size(logs_gib)} of logs at "
             f"{LOG_GIB} USD a GiB")
    return Money(most // 2, most, (f"An allowance: {basis}.",), basis)


def timeout_within(rate: Rate, wanted_s: int, budget_micros: int, attempts: int = 1, storage_gib: float = 0.0, *, retries: int = 0,
                   replicas: int = 1, keep_days: int = KEEP_DAYS) -> int:
    """The longest time limit in whole seconds, at most `wanted_s`, whose ceiling a budget holds; 0 where not even a second fits."""
    left = Decimal(budget_micros) / MICROS - _aside(attempts, storage_gib, keep_days)
    each = left / (rate.per_second * attempts * replicas) - START_S
    found = min(wanted_s, int(each / (1 + retries))) if each > 0 else 0
    return max(0, found)


def time_limit(high_s: float, max_hours: float) -> int:
    """The platform's time limit for work that takes `high_s` seconds at most by its estimate, in seconds.

    Three times as long with room for starting, in whole quarters of an hour; at least half an hour, at most what the limits allow.
    """
    wanted = max(SHORTEST_S, STEP_S * math.ceil((3 * high_s + SPARE_S) / STEP_S))
    return int(min(wanted, max_hours * 3600))


def accrued(per_second: Decimal, seconds: float) -> int:
    """What a replica that has been up for some seconds has cost so far, in micro-units, rounded up; never below zero."""
    return up(per_second * Decimal(str(max(0.0, seconds))))


def up(amount: Decimal) -> int:
    """US dollars as whole micro-units, rounded up."""
    return int((amount * MICROS).to_integral_value(rounding=ROUND_CEILING))


def minutes(seconds: float) -> str:
    """A time limit for people: `45 minutes`, `2 hours 30 minutes`."""
    whole = max(1, round(seconds / 60))
    hours, rest = divmod(whole, 60)
    parts = [_many(hours, "hour") if hours else "", _many(rest, "minute") if rest or not hours else ""]
    return " ".join(part for part in parts if part)


def _aside(attempts: int, storage_gib: float, keep_days: int) -> Decimal:
    return _stored(storage_gib, keep_days) + attempts * RUN_LOGS_GIB * LOG_GIB


def _stored(gib: float, days: int) -> Decimal:
    return Decimal(str(gib)) * STORAGE_GIB_MONTH * Decimal(days) / _MONTH_DAYS


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _size(gib: float) -> str:
    return f"{gib:.1f} GiB"
