"""The Merkle tree over the record's stored bytes: RFC 9162 section 2.1, with SHA-256.

A tree that grows is kept as its frontier: the roots of the perfect subtrees that its size is made of, largest first.
"""

import hashlib
from collections.abc import Iterable, Sequence

EMPTY = hashlib.sha256(b"").digest()
"""The root of a tree with no leaves."""


def leaf(stored: bytes) -> bytes:
    """The hash of one record: SHA-256(0 ‖ bytes)."""
    return hashlib.sha256(b"\0" + stored).digest()


def node(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees: SHA-256(1 ‖ left ‖ right)."""
    return hashlib.sha256(b"\1" + left + right).digest()


def grow(frontier: list[bytes], size: int, fresh: bytes) -> int:
    """Add the hash of a leaf to the frontier of a tree of `size` leaves, in place; returns the new size."""
    frontier.append(fresh)
    rest = size
    while rest & 1:
        right = frontier.pop()
        frontier[-1] = node(frontier[-1], right)
        rest >>= 1
    return size + 1


def fold(frontier: Sequence[bytes]) -> bytes:
    """The root of the tree with this frontier."""
    if not frontier:
        return EMPTY
    found = frontier[-1]
    for peak in reversed(frontier[:-1]):
        found = node(peak, found)
    return found


def root(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes."""
    frontier: list[bytes] = []
    for size, one in enumerate(leaves):
        grow(frontier, size, one)
    return fold(frontier)


def _split(size: int) -> int:
    """The largest power of two below `size`, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """The proof that the leaf at `index` (from 0) is in the tree, lowest sibling first (section 2.1.3.1)."""
    path, first, last = list[bytes](), 0, len(leaves)
    while last - first > 1:
        middle = first + _split(last - first)
        if index < middle:
            path.append(root(leaves[middle:last]))
            last = middle
        else:
            path.append(root(leaves[first:middle]))
            first = middle
    return path[::-1]


def is_included(fresh: bytes, index: int, size: int, path: Sequence[bytes], wanted: bytes) -> bool:
    """Whether `path` proves that the leaf `fresh` is number `index` of the tree with this size and root (section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    place, last, found = index, size - 1, fresh
    for part in path:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node(part, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node(found, part)
        place, last = place >> 1, last >> 1
    return last == 0 and found == wanted


def consistency(before: int, leaves: Sequence[bytes]) -> list[bytes]:
    """The proof that the first `before` leaves (at least 1) are the beginning of this tree (section 2.1.4.1)."""
    path, first, last, whole = list[bytes](), 0, len(leaves), True
    while before != last:
        middle = first + _split(last - first)
        if before <= middle:
            path.append(root(leaves[middle:last]))
            last = middle
        else:
            path.append(root(leaves[first:middle]))
            first, whole = middle, False
    if not whole:
        path.append(root(leaves[first:last]))
    return path[::-1]


def is_consistent(before: int, size: int, path: Sequence[bytes], old: bytes, new: bytes) -> bool:
    """Whether `path` proves that the tree `old` of `before` leaves is the beginning of `new` of `size` leaves (section 2.1.4.2)."""
    if before == size:
        return not path and old == new
    if not 0 < before < size:
        return False
    parts = list(path) if before & (before - 1) else [old, *path]
    if not parts:
        return False
    place, last = before - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    first = second = parts[0]
    for part in parts[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            first, second = node(part, first), node(part, second)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            second = node(second, part)
        place, last = place >> 1, last >> 1
    return last == 0 and first == old and second == new
