"""How sure a gain is: exact tests and score intervals on rows answered right before and after."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

Z95 = NormalDist().inv_cdf(0.975)

Word = Literal["better", "worse", "no_clear_difference"]


@dataclass(frozen=True, slots=True)
class Gain:
    """A change of a share, with its 95 % interval and the chance of one as large without any effect (two-sided)."""

    value: float
    ci_low: float
    ci_high: float
    p: float
    rows: int
    method: str

    @property
    def word(self) -> Word:
        """What the interval allows to say."""
        if self.ci_low > 0:
            return "better"
        return "worse" if self.ci_high < 0 else "no_clear_difference"


def wilson(right: int, rows: int) -> tuple[float, float]:
    """The Wilson score interval of a share, 95 % (Wilson 1927)."""
    if rows < 1:
        return 0.0, 1.0
    share, z2 = right / rows, Z95 * Z95
    middle = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    half = Z95 / (1 + z2 / rows) * math.sqrt(share * (1 - share) / rows + z2 / (4 * rows * rows))
    return (0.0 if right == 0 else middle - half), (1.0 if right == rows else middle + half)


def mcnemar(won: int, lost: int) -> float:
    """Exact two-sided McNemar test: the chance of a split at least as uneven among `won + lost` rows that changed."""
    changed, least = won + lost, min(won, lost)
    if changed == 0:
        return 1.0
    tail = sum(math.comb(changed, k) for k in range(least + 1)) / 2**changed
    return min(1.0, 2 * tail)


def paired_gain(before: Sequence[bool], after: Sequence[bool]) -> Gain:
    """The gain on the same rows: exact McNemar p and Newcombe's paired score interval (1998, Stat. Med. 17:2635, method 10)."""
    if len(before) != len(after) or not before:
        raise ValueError("paired rows of equal, positive number are wanted")
    rows = len(before)
    both = sum(b and a for b, a in zip(before, after, strict=True))
    won = sum(a and not b for b, a in zip(before, after, strict=True))
    lost = sum(b and not a for b, a in zip(before, after, strict=True))
    none = rows - both - won - lost
    margins = (both + won) * (lost + none) * (both + lost) * (won + none)
    cross = both * none - won * lost
    if cross > 0:  # Newcombe's continuity correction
        cross = max(cross - rows / 2, 0)
    phi = cross / math.sqrt(margins) if margins else 0.0
    low, high = _square_and_add(both + won, both + lost, rows, rows, phi)
    return Gain((won - lost) / rows, low, high, mcnemar(won, lost), rows, "paired: exact McNemar, Newcombe score interval")


def unpaired_gain(before: int, rows_before: int, after: int, rows_after: int) -> Gain:
    """The gain from totals alone: Fisher's exact p and Newcombe's interval for two independent shares; wider than the paired one."""
    low, high = _square_and_add(after, before, rows_after, rows_before, 0.0)
    value = after / rows_after - before / rows_before
    p = fisher(after, rows_after - after, before, rows_before - before)
    return Gain(value, low, high, p, min(rows_before, rows_after), "from totals: Fisher's exact test, Newcombe score interval")


def _square_and_add(after: int, before: int, rows_after: int, rows_before: int, phi: float) -> tuple[float, float]:
    p1, p2 = after / rows_after, before / rows_before
    (l1, u1), (l2, u2) = wilson(after, rows_after), wilson(before, rows_before)
    down = (p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2
    up = (u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2
    return max(-1.0, p1 - p2 - math.sqrt(max(0.0, down))), min(1.0, p1 - p2 + math.sqrt(max(0.0, up)))


def fisher(a: int, b: int, c: int, d: int) -> float:
    """Fisher's exact two-sided test of the table ((a, b), (c, d))."""
    rows, first, total = a + b, a + c, a + b + c + d
    ways = math.comb(total, first)

    def chance(x: int) -> float:
        return math.comb(rows, x) * math.comb(total - rows, first - x) / ways

    seen = chance(a)
    least, most = max(0, first - (total - rows)), min(rows, first)
    return min(1.0, sum(p for x in range(least, most + 1) if (p := chance(x)) <= seen * (1 + 1e-9)))
