"""Fits the router from the example requests: `python -m agent.brain.fit_router`, in the development environment."""

import io
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.brain.router import CHAR_RANGE, FILE, WORD, WORD_RANGE, normal

BANK = Path(__file__).parent / "utterances"
CHAR_FEATURES, WORD_FEATURES = 4500, 2500
STRENGTH = 30.0


def read_bank(folder: Path = BANK) -> list[tuple[str, str]]:
    """Intent and request, one of our own example requests a line; the file's name is the intent."""
    pairs = [(file.stem, line.strip()) for file in sorted(folder.glob("*.txt")) for line in file.read_text("utf-8").splitlines()]
    return [(intent, line) for intent, line in pairs if line and not line.startswith("#")]


def fit(pairs: list[tuple[str, str]]) -> tuple[Any, Any, Any]:
    """The two vectorisers and the classifier, fitted with scikit-learn; the same bank gives the same numbers."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    texts = [normal(text) for _, text in pairs]
    chars = TfidfVectorizer(
        analyzer="char_wb",
        ngram_range=CHAR_RANGE,
        lowercase=False,
        sublinear_tf=True,
        dtype=np.float64,
    )
    words = TfidfVectorizer(
        analyzer="word",
        ngram_range=WORD_RANGE,
        lowercase=False,
        sublinear_tf=True,
        token_pattern=WORD.pattern,
        dtype=np.float64,
    )
    chars.vocabulary, words.vocabulary = most_used(chars, texts, CHAR_FEATURES), most_used(words, texts, WORD_FEATURES)
    from scipy.sparse import hstack

    features = hstack([chars.fit_transform(texts), words.fit_transform(texts)]).tocsr()
    model = LogisticRegression(C=STRENGTH, max_iter=2000, tol=1e-6)
    with threadpool_limits(1):  # matrices this small are fitted four times as fast by one thread
        model.fit(features, [intent for intent, _ in pairs])
    return chars, words, model


def most_used(vectoriser: Any, texts: list[str], count: int) -> list[str]:
    """The parts that occur most, in alphabetical order, equal counts decided by the alphabet.

    Not `max_features`: it decides them by an unstable sort, which differs from one processor to the next.
    """
    counts = Counter(part for analyse in [vectoriser.build_analyzer()] for text in texts for part in analyse(text))
    return sorted(sorted(counts, key=lambda part: (-counts[part], part))[:count])


def numbers(chars: Any, words: Any, model: Any) -> dict[str, NDArray[Any]]:
    """The fitted numbers as named arrays."""
    return {
        "labels": np.array("\n".join(model.classes_)),
        "char_parts": np.array("\n".join(chars.get_feature_names_out())),
        "char_idf": chars.idf_.astype(np.float32),
        "word_parts": np.array("\n".join(words.get_feature_names_out())),
        "word_idf": words.idf_.astype(np.float32),
        "coef": model.coef_.astype(np.float32),
        "intercept": model.intercept_.astype(np.float32),
    }


def pack(chars: Any, words: Any, model: Any) -> bytes:
    """The numbers as a `.npz` without pickles; the same numbers make the same bytes, because zip members carry no time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in numbers(chars, words, model).items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), member.getvalue(), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def main() -> int:
    """Fit and write the shipped file."""
    content = pack(*fit(read_bank()))
    FILE.write_bytes(content)
    print(f"{FILE.name}: {len(content):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
