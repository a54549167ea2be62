"""Amounts as the command assistant says them: memory, time and money."""

from decimal import ROUND_DOWN, Decimal, InvalidOperation
from typing import Any


def gib(value: Any) -> str:
    """Bytes in GiB."""
    return f"{value / 1024**3:.1f} GiB" if isinstance(value, int | float) else "an unknown amount"


def span(low: Any, high: Any) -> str:
    """A range of seconds."""
    return f"{duration(low)} to {duration(high)}"


def duration(seconds: Any) -> str:
    """Seconds in the unit that suits them."""
    if not isinstance(seconds, int | float):
        return "an unknown time"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def cents(value: Any) -> str:
    """A decimal text to the cent; the rest of a cent is left out, and less than one is said so."""
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return "?"
    if 0 < amount < Decimal("0.01"):
        return "less than 0.01"
    return str(amount.quantize(Decimal("0.01"), rounding=ROUND_DOWN))


def moment(value: Any) -> str:
    """An ISO time in UTC to the minute."""
    return f"{str(value)[:16].replace('T', ' ')} UTC"
