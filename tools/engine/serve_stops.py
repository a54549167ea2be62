"""Stop texts: what is shown of a growing answer while a part of a stop text may be at its end."""

from collections.abc import Sequence


class StopTexts:
    """Lets text through up to the stop text that is complete first, whichever pieces it comes in."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.reached = False
        """A stop text has come; nothing more is let through."""

    def feed(self, piece: str) -> str:
        """What can be shown now, after `piece`."""
        if self.reached:
            return ""
        text = self._held + piece
        found = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self._held, self.reached = "", True
            return text[: min(found)[1]]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def rest(self) -> str:
        """What was held back, when the answer has ended otherwise."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that a whole `stop` could still grow from."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[len(text) - length :]):
            return length
    return 0
