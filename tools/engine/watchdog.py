"""Whether training still learns: a loss that stops being a number or explodes, and a validation loss that no longer falls."""

import math
import statistics
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WINDOW = 20
"""Losses that the median is taken of; before so many steps only a loss that is no number counts."""
IN_A_ROW = 3
"""Exploding steps in a row that end the run: one bad batch may stand out."""


@dataclass(frozen=True, slots=True)
class Diverged:
    """A run that learns no more: where it began and what was seen."""

    first: int
    """The first step whose loss was out of bounds."""
    step: int
    loss: float
    median: float | None
    """The median before; None when the loss is no number."""

    @property
    def doubtful(self) -> int:
        """The first step whose weights are in doubt: a step's loss judges the weights of the step before."""
        return self.first - 1

    def says(self) -> str:
        """What happened, as the first half of a sentence for people."""
        if self.median is None:
            return f"The loss stopped being a number at step {self.step}"
        return f"The loss exploded: {self.loss:.3g} at step {self.step}, {self.median:.3g} before step {self.first}"


class Watchdog:
    """Looks at the loss of every step."""

    def __init__(self, explode: float, seen: Iterable[tuple[int, float]] = ()) -> None:
        """`explode`: how many times the median is too much. `seen`: step and loss of earlier attempts, oldest first."""
        self._explode = explode
        self._calm: deque[float] = deque(maxlen=WINDOW)
        self.first: int | None = None
        """Where the present row of exploding steps began; None while all is well."""
        self._row = 0
        for step, loss in seen:
            self.see(step, loss)

    def see(self, step: int, loss: float) -> Diverged | None:
        """Note a step's loss; what is wrong, when it is enough to stop."""
        if not math.isfinite(loss):
            return Diverged(self.first if self.first is not None else step, step, loss, None)
        median = statistics.median(self._calm) if len(self._calm) == WINDOW else None
        if median is None or loss <= self._explode * median:
            self._calm.append(loss)
            self.first, self._row = None, 0
            return None
        self.first = step if self.first is None else self.first
        self._row += 1
        return Diverged(self.first, step, loss, median) if self._row >= IN_A_ROW else None


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a run has come on its validation rows."""

    best_step: int | None = None
    best_loss: float | None = None
    waited: int = 0
    """Evaluations since the best one."""

    def is_over(self, patience: int | None) -> bool:
        """Whether so many evaluations without improvement are enough."""
        return patience is not None and self.best_step is not None and self.waited >= patience


def standing(evaluations: Sequence[tuple[int, float]]) -> Standing:
    """The standing after evaluations (step, loss in nats a token), oldest first; a loss that is no number is no improvement."""
    now = Standing()
    for step, loss in evaluations:
        if math.isfinite(loss) and (now.best_loss is None or loss < now.best_loss):
            now = Standing(step, loss, 0)
        else:
            now = Standing(now.best_step, now.best_loss, now.waited + 1)
    return now
