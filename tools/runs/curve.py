"""A curve of a run with bounded memory: as many points as a chart can show, the highest and the lowest of each part kept."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

POINTS = 500

Point = tuple[int, float]


def decimate(points: Sequence[Point], limit: int = POINTS) -> list[Point]:
    """At most `limit` points (4 at least) in the order of steps; first and last, and each part's lowest and highest, are kept. Pure."""
    if len(points) <= limit:
        return list(points)
    inner, parts = points[1:-1], max(1, (limit - 2) // 2)
    kept = [points[0]]
    for part in range(parts):
        piece = inner[part * len(inner) // parts:(part + 1) * len(inner) // parts]
        if piece:
            low, high = min(piece, key=lambda point: point[1]), max(piece, key=lambda point: point[1])
            kept += sorted({low, high})
    return [*kept, points[-1]]


class Curve:
    """Takes (step, value) as they come and holds at most four times `limit` of them."""

    def __init__(self, limit: int = POINTS) -> None:
        self._limit = limit
        self._points: list[Point] = []

    def add(self, step: Any, value: Any) -> None:
        """One more point; what is no finite number is left out. A step that comes again, as after a resume, replaces what followed it."""
        if isinstance(step, bool) or not isinstance(step, int) or isinstance(value, bool) or not isinstance(value, int | float):
            return
        if not math.isfinite(value):
            return
        while self._points and self._points[-1][0] >= step:
            self._points.pop()
        self._points.append((step, float(value)))
        if len(self._points) > 4 * self._limit:
            self._points = decimate(self._points, 2 * self._limit)

    def points(self) -> list[Point]:
        """The curve as it is now."""
        return decimate(self._points, self._limit)


def curves(events: Iterable[Mapping[str, Any]], limit: int = POINTS) -> dict[str, list[Point]]:
    """Loss and validation loss by step, from a run's events."""
    loss, validation, step = Curve(limit), Curve(limit), 0
    for event in events:
        match event.get("kind"):
            case "step":
                step = event.get("step", step)
                loss.add(step, event.get("loss"))
            case "eval":
                validation.add(event.get("step", step), event.get("eval_loss"))
            case _:
                pass
    return {"loss": loss.points(), "eval_loss": validation.points()}
