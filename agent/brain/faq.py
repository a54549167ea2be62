"""Luthier's own questions and answers, found with the router's features."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.brain.router import Router

FILE = Path(__file__).parent / "faq.toml"
SURE = 0.42
"""Likeness (cosine, 0..1) from which an answer is given; below it we would answer another question than the one asked."""


@dataclass(frozen=True)
class Faq:
    """All entries, with the features of each way to put the question."""

    router: Router
    answers: tuple[str, ...]
    titles: tuple[str, ...]
    owner: tuple[int, ...]
    vectors: NDArray[np.float64]

    @classmethod
    def load(cls, router: Router, file: Path = FILE) -> "Faq":
        """Read the entries."""
        entries = tomllib.loads(file.read_text("utf-8"))["entry"]
        asked = [(place, ask) for place, entry in enumerate(entries) for ask in entry["ask"]]
        vectors = np.stack([router.encode(ask) for _, ask in asked])
        return cls(
            router,
            tuple(entry["answer"] for entry in entries),
            tuple(entry["ask"][0] for entry in entries),
            tuple(place for place, _ in asked),
            vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        )

    def find(self, text: str) -> tuple[str | None, float]:
        """The best answer and its likeness; None when no entry is like enough."""
        vector = self.router.encode(text)
        length = float(np.linalg.norm(vector))
        if not length:
            return None, 0.0
        likeness = self.vectors @ (vector / length)
        best = int(likeness.argmax())
        return (self.answers[self.owner[best]] if likeness[best] >= SURE else None), float(likeness[best])
