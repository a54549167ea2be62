"""The tree against an oracle written down from RFC 9162 word by word, and against provers that lie."""

import hashlib
from functools import cache

import pytest

from policies.audit import merkle

LEAVES = [merkle.leaf(str(number).encode()) for number in range(130)]


def k_of(n: int) -> int:
    """The largest power of two smaller than n."""
    k = 1
    while 2 * k < n:
        k *= 2
    return k


@cache
def mth(first: int, last: int) -> bytes:
    """MTH(D[first:last]), section 2.1.1."""
    n = last - first
    if n == 0:
        return hashlib.sha256(b"").digest()
    if n == 1:
        return hashlib.sha256(b"\x00" + str(first).encode()).digest()
    k = k_of(n)
    return hashlib.sha256(b"\x01" + mth(first, first + k) + mth(first + k, last)).digest()


def path_of(m: int, first: int, last: int) -> list[bytes]:
    """PATH(m, D[first:last]), section 2.1.3.1."""
    n = last - first
    if n == 1:
        return []
    k = k_of(n)
    if m < k:
        return [*path_of(m, first, first + k), mth(first + k, last)]
    return [*path_of(m - k, first + k, last), mth(first, first + k)]


def subproof(m: int, first: int, last: int, whole: bool) -> list[bytes]:
    """SUBPROOF(m, D[first:last], b), section 2.1.4.1."""
    n = last - first
    if m == n:
        return [] if whole else [mth(first, last)]
    k = k_of(n)
    if m <= k:
        return [*subproof(m, first, first + k, whole), mth(first + k, last)]
    return [*subproof(m - k, first + k, last, False), mth(first, first + k)]


def test_the_root_of_every_size_is_the_oracles_grown_or_whole() -> None:
    frontier, size = list[bytes](), 0
    assert merkle.fold(frontier) == merkle.EMPTY == mth(0, 0)
    for one in LEAVES:
        size = merkle.grow(frontier, size, one)
        assert merkle.fold(frontier) == merkle.root(LEAVES[:size]) == mth(0, size)


def test_every_inclusion_proof_is_the_oracles_and_convinces() -> None:
    for n in range(1, 131):
        for m in range(n):
            path = merkle.inclusion(m, LEAVES[:n])
            assert path == path_of(m, 0, n) and merkle.is_included(LEAVES[m], m, n, path, mth(0, n)), (m, n)


def test_every_consistency_proof_is_the_oracles_and_convinces() -> None:
    for n in range(1, 131):
        for m in range(1, n + 1):
            path = merkle.consistency(m, LEAVES[:n])
            assert path == subproof(m, 0, n, True) and merkle.is_consistent(m, n, path, mth(0, m), mth(0, n)), (m, n)


def lies(path: list[bytes]) -> list[list[bytes]]:
    """What a lying prover could hand over instead."""
    other = bytes(32)
    changed = [[*path[:place], other, *path[place + 1:]] for place in range(len(path))]
    return [*changed, [*path, other], [other, *path], *([path[:-1], path[1:], path[::-1]] if len(path) > 1 else [])]


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 64, 65, 100])
def test_a_lying_prover_convinces_nobody_that_a_record_is_there(n: int) -> None:
    root = mth(0, n)
    for m in range(n):
        path = path_of(m, 0, n)
        for lie in lies(path):
            assert lie == path or not merkle.is_included(LEAVES[m], m, n, lie, root)
        assert not merkle.is_included(merkle.leaf(b"forged"), m, n, path, root)
        assert not merkle.is_included(LEAVES[m], m, n, path, bytes(32))
        for index in {-1, n, m + 1, m - 1, m ^ 1} - {m}:
            assert not merkle.is_included(LEAVES[m], index, n, path, root)
    # An inner node is no leaf: 0 and 1 before the bytes keep them apart.
    assert n < 2 or not merkle.is_included(merkle.leaf(LEAVES[0] + LEAVES[1]), 0, max(1, n // 2), path_of(0, 0, n)[1:], root)


@pytest.mark.parametrize(("m", "n"), [(1, 2), (1, 8), (3, 7), (4, 7), (6, 8), (8, 8), (64, 100), (99, 100), (100, 130)])
def test_a_lying_prover_convinces_nobody_that_one_tree_grew_from_another(m: int, n: int) -> None:
    path, old, new = subproof(m, 0, n, True), mth(0, m), mth(0, n)
    for lie in lies(path):
        assert lie == path or not merkle.is_consistent(m, n, lie, old, new)
    assert not merkle.is_consistent(m, n, path, bytes(32), new) and not merkle.is_consistent(m, n, path, old, bytes(32))
    for other in {0, -1, n + 1, m + 1, m - 1} - {m}:
        assert not merkle.is_consistent(other, n, path, old, new) or other == n == m
