"""Which intent a request has: TF-IDF and logistic regression, scored with numpy from a file that `fit_router` made.

The same numbers as scikit-learn's `FeatureUnion(TfidfVectorizer(char_wb, 2-5), TfidfVectorizer(word, 1-2))` and `LogisticRegression`,
without scikit-learn and scipy in the chat process. A test refits with scikit-learn and compares.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).parent / "router.npz"
CHAR_RANGE, WORD_RANGE = (2, 5), (1, 2)

_DATA = re.compile(r"[\w./~@%+-]*[\w-]\.(?:jsonl|json|csv|tsv|txt|parquet)\b|\b[a-z][\w-]*@[0-9a-f]{4,64}\b")
_RUN = re.compile(r"\b(?=[0-9a-z]*\d)(?=[0-9a-z]*[a-z])[0-9a-hjkmnp-tv-z]{10}\b")
_MODEL = re.compile(r"\b[\w.-]+/[\w.-]+\b|\b(?:smollm|qwen|phi|llama|gemma|mistral|tinyllama)[\w.-]*", re.IGNORECASE)
_QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”|„[^“”]*[“”]")
_NUMBER = re.compile(r"\b\d+(?:[.,]\d+)?(?:e-?\d+)?\b")
WORD = re.compile(r"\b\w+\b")


def normal(text: str) -> str:
    """A request in the form that is learned: lower case, with names, numbers and quotations replaced by their kind."""
    text = text.lower().replace("’", "'")
    for pattern, word in ((_QUOTED, " quoted "), (_DATA, " dataref "), (_RUN, " runref "), (_MODEL, " modelref "), (_NUMBER, " num ")):
        text = pattern.sub(word, text)
    return " ".join(re.sub(r"[^\w' -]", " ", text).split())


def char_parts(text: str) -> Iterator[str]:
    """Character n-grams within words padded by a space, as scikit-learn's `char_wb` counts them."""
    for word in text.split():
        padded = f" {word} "
        for size in range(CHAR_RANGE[0], CHAR_RANGE[1] + 1):
            yield padded[:size]
            for start in range(1, len(padded) - size + 1):
                yield padded[start : start + size]
            if size >= len(padded):
                break


def word_parts(text: str) -> Iterator[str]:
    """Words and pairs of neighbours."""
    words = WORD.findall(text)
    yield from words
    yield from (f"{one} {two}" for one, two in pairwise(words))


@dataclass(frozen=True)
class Block:
    """One TF-IDF vectoriser: sublinear counts, smoothed idf, unit length."""

    places: dict[str, int]
    idf: NDArray[np.float64]

    def vector(self, parts: Iterable[str]) -> NDArray[np.float64]:
        """The weights of one text; unit length unless it holds nothing known."""
        out = np.zeros(len(self.idf))
        for part, count in Counter(part for part in parts if part in self.places).items():
            place = self.places[part]
            out[place] = (1 + math.log(count)) * self.idf[place]
        length = float(np.linalg.norm(out))
        return out / length if length else out


@dataclass(frozen=True)
class Router:
    """The fitted router; `encode` serves the questions and answers as well."""

    labels: tuple[str, ...]
    chars: Block
    words: Block
    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]

    @classmethod
    def load(cls, file: Path = FILE) -> "Router":
        """Read what `fit_router` wrote. No pickles are read."""
        with np.load(file, allow_pickle=False) as kept:
            blocks = [
                Block(
                    {part: place for place, part in enumerate(str(kept[f"{name}_parts"]).split("\n"))},
                    kept[f"{name}_idf"].astype(np.float64),
                )
                for name in ("char", "word")
            ]
            labels = tuple(str(kept["labels"]).split("\n"))
            return cls(labels, blocks[0], blocks[1], kept["coef"].astype(np.float64), kept["intercept"].astype(np.float64))

    def encode(self, text: str) -> NDArray[np.float64]:
        """The features of a request."""
        text = normal(text)
        return np.concatenate([self.chars.vector(char_parts(text)), self.words.vector(word_parts(text))])

    def probabilities(self, text: str) -> dict[str, float]:
        """Probability of each intent, likeliest first; they add up to 1."""
        scores = self.coef @ self.encode(text) + self.intercept
        weights = np.exp(scores - scores.max())
        return ranked(self.labels, weights / weights.sum())


def ranked(labels: Sequence[str], values: NDArray[np.float64]) -> dict[str, float]:
    """Labels with their values, highest first."""
    order = np.argsort(-values, kind="stable")
    return {labels[int(place)]: float(values[place]) for place in order}
