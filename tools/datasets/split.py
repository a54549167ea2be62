"""Divides rows into train, validation and test so that near-duplicates and groups never lie on two sides."""

import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tools.datasets.shape import Split

JACCARD = 0.6
"""Rows whose word 3-grams overlap this much or more are near-duplicates (engine measurements: a naive split leaks 30 %)."""
SHINGLE_WORDS = 3
SKETCH = 256
"""A row's smallest shingle hashes that are kept: exact up to 258 words, a bottom-k estimate above."""
POSTINGS = 256
"""Rows that a row is compared with for each shingle it shares, the latest ones; bounds the work on data made from few templates."""
HELD_OUT = 0.1
HELD_OUT_ROWS = 200
"""The most rows that go to test, and to validation."""
HELD: tuple[Split, ...] = ("test", "validation")
ORDER: tuple[Split, ...] = ("test", "validation", "train")


@dataclass(frozen=True, slots=True)
class Item:
    """What the split needs to know of one row."""

    key: str
    """Hash of the row's normalised text: the same for rows that say the same."""
    shingles: frozenset[int]
    group: str = ""
    split: Split | None = None


@dataclass(frozen=True, slots=True)
class Division:
    """Which side each row is on, and what was found on the way."""

    sides: tuple[Split, ...]
    groups: int
    near_duplicates: int
    """Rows that are a near-duplicate of an earlier row, exact ones included."""
    moved: int
    """Rows whose own `split` field was overruled, since a near-duplicate or a row of their group is held out."""

    def count(self, side: Split) -> int:
        """Rows on one side."""
        return self.sides.count(side)


def item(prompt: str, group: str = "", split: Split | None = None) -> Item:
    """What the split needs to know of a row with this prompt (or text)."""
    words = re.findall(r"\w+", prompt.lower())
    size = min(SHINGLE_WORDS, max(len(words), 1))
    grams = {" ".join(words[i : i + size]) for i in range(max(len(words) - size + 1, 1))}
    hashes = sorted(_hash(gram) for gram in grams)[:SKETCH]
    return Item(hashlib.blake2b(" ".join(words or [prompt]).encode(), digest_size=16).hexdigest(), frozenset(hashes), group, split)


def divide(items: Sequence[Item], seed: int = 0) -> Division:
    """Put every row on one side. The outcome depends on the rows and the seed, not on the rows' order.

    A row's own `split` is honoured, the held-out side winning within a group. What has none is dealt out by whole groups.
    """
    roots = _chains(items)
    members: dict[int, list[int]] = defaultdict(list)
    for index, root in enumerate(roots.find(i) for i in range(len(items))):
        members[root].append(index)
    named: dict[int, Split] = {}
    for root, rows in members.items():
        given = {items[i].split for i in rows}
        for side in ORDER[::-1]:
            if side in given:
                named[root] = side
    sides = _deal(items, members, named, seed)
    moved = sum(items[i].split not in (None, named.get(root)) for root, rows in members.items() for i in rows)
    placed: list[Split] = ["train"] * len(items)
    for root, rows in members.items():
        for index in rows:
            placed[index] = sides[root]
    return Division(tuple(placed), len(members), roots.near, moved)


def _deal(items: Sequence[Item], members: dict[int, list[int]], named: dict[int, Split], seed: int) -> dict[int, Split]:
    """Each group's side: as named; else test and validation get their share from groups in an order drawn by the seed."""
    sides = dict(named)
    held = set(named.values())
    # Rows that a file names as train, or does not name, are what held-out rows are taken from where it names none.
    free = [root for root in members if named.get(root, "train") == "train"]
    identity = {root: min(items[i].key for i in members[root]) for root in free}
    free.sort(key=lambda root: hashlib.blake2b(f"{seed}:{identity[root]}".encode(), digest_size=16).digest())
    for side in HELD:
        if side in held:
            continue
        rows = sum(len(members[root]) for root in free)
        target = min(HELD_OUT_ROWS, max(math.ceil(rows * HELD_OUT), min(2, rows // 4), 1))
        for root in _taken(free, members, target):
            sides[root] = side
        free = [root for root in free if sides.get(root, "train") == "train"]
    return {root: sides.get(root, "train") for root in members}


def _taken(free: list[int], members: dict[int, list[int]], target: int) -> list[int]:
    """Groups for one held-out side, about `target` rows; never so many that nothing is left to learn from."""
    if len(free) < 2:
        return []
    taken, got = list[int](), 0
    for root in free:
        if got >= target or len(taken) == len(free) - 1:
            break
        if got + len(members[root]) <= max(target, 1) * 1.5:
            taken.append(root)
            got += len(members[root])
    return taken or [min(free, key=lambda root: len(members[root]))]


class _Chains:
    """Union-find over rows."""

    def __init__(self, size: int) -> None:
        self.parent = list(range(size))
        self.near = 0

    def find(self, index: int) -> int:
        while self.parent[index] != index:
            self.parent[index] = self.parent[self.parent[index]]
            index = self.parent[index]
        return index

    def join(self, one: int, other: int) -> None:
        self.parent[max(self.find(one), self.find(other))] = min(self.find(one), self.find(other))


def _chains(items: Sequence[Item]) -> _Chains:
    """Rows of one group, and near-duplicates of near-duplicates, under one root.

    Finds every pair by prefix filtering (Bayardo, Ma and Srikant, Scaling up all pairs similarity search, WWW 2007): two sets with
    Jaccard >= t share one of their |x| - ceil(t |x|) + 1 rarest elements. Up to POSTINGS rows for each element.
    """
    chains = _Chains(len(items))
    groups: dict[str, int] = {}
    keys: dict[str, int] = {}
    rarity = Counter(shingle for item in items for shingle in item.shingles)
    postings: dict[int, list[int]] = defaultdict(list)
    for index, one in enumerate(items):
        if one.group:
            chains.join(index, groups.setdefault(one.group, index))
        if (first := keys.setdefault(one.key, index)) != index:
            chains.join(index, first)
            chains.near += 1
            continue
        ordered = sorted(one.shingles, key=lambda shingle: (rarity[shingle], shingle))
        near, compared = False, set[int]()
        for shingle in ordered[: len(ordered) - math.ceil(JACCARD * len(ordered)) + 1]:
            for other in postings[shingle][-POSTINGS:]:
                if other not in compared and jaccard(one.shingles, items[other].shingles) >= JACCARD:
                    chains.join(index, other)
                    near = True
                compared.add(other)
            postings[shingle].append(index)
        chains.near += near
    return chains


def jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    """Shared elements over all elements, 0..1."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) if shared else 0.0


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
