"""A run's curve as a picture that needs no script: the loss by step, drawn by the server from thinned points. Pure."""

import math
from collections.abc import Sequence
from typing import Any, TypedDict

from ui.figures import number

WIDTH, HEIGHT = 720, 240
LEFT, RIGHT, TOP, BOTTOM = 48, 14, 12, 26
MARKS = 4
DOTS = 60

Points = Sequence[tuple[float, float]]


class Mark(TypedDict):
    """A line of the grid, or a step under it: where, and what it says."""

    at: str
    text: str


class Drawing(TypedDict):
    """What the page's template draws."""

    width: int
    height: int
    left: int
    right: int
    bottom: int
    losses: list[Mark]
    steps: list[Mark]
    train: str
    eval: str
    dots: list[tuple[str, str]]


def draw(train: Any, held_out: Any, steps: Any) -> Drawing | None:
    """The picture of two curves over `steps` steps; None when there is nothing to draw."""
    one, two = points(train), points(held_out)
    if not one and not two:
        return None
    last = max([number(steps) or 0.0, 1.0, *(step for step, _ in (*one, *two))])
    unit = rounded(max([0.01, *(loss for _, loss in (*one, *two))]) / MARKS)
    top = unit * MARKS

    def x(step: float) -> str:
        return f"{LEFT + step / last * (WIDTH - LEFT - RIGHT):.1f}"

    def y(loss: float) -> str:
        return f"{TOP + (1 - max(0.0, min(loss, top)) / top) * (HEIGHT - TOP - BOTTOM):.1f}"

    def path(curve: Points) -> str:
        return "".join(f"{'L' if at else 'M'}{x(step)} {y(loss)}" for at, (step, loss) in enumerate(curve))

    digits = 2 if unit < 0.1 else 0 if unit == int(unit) else 1
    every = max(1, math.ceil(len(two) / DOTS))
    return Drawing(
        width=WIDTH, height=HEIGHT, left=LEFT, right=WIDTH - RIGHT, bottom=HEIGHT - 7,
        losses=[Mark(at=y(unit * mark), text=f"{unit * mark:.{digits}f}") for mark in range(MARKS + 1)],
        steps=[Mark(at=x(last * mark / MARKS), text=f"{round(last * mark / MARKS):,}") for mark in range(MARKS + 1)],
        train=path(one), eval=path(two), dots=[(x(step), y(loss)) for step, loss in two[::every]],
    )


def points(found: Any) -> list[tuple[float, float]]:
    """The pairs of finite numbers in it."""
    pairs = found if isinstance(found, Sequence) and not isinstance(found, str) else ()
    both = ((number(pair[0]), number(pair[1])) for pair in pairs if isinstance(pair, Sequence) and len(pair) == 2)
    return [(step, value) for step, value in both if step is not None and value is not None]


def rounded(value: float) -> float:
    """The next number of 1, 2, 2.5 or 5 times a power of ten that is no smaller: a scale a person reads."""
    ten = 10 ** math.floor(math.log10(value))
    return next(step * ten for step in (1, 2, 2.5, 5, 10) if step * ten >= value * 0.999)
