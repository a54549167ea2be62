"""Signing when transactions fail: what was rolled back is neither signed nor kept outside, and nothing else is forgotten."""

import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, select

from policies.audit.merkle import leaf, root
from policies.audit.verify import verify
from policies.tables import audit_checkpoints
from tests.policies.audit.logs import Signed, entry, kept, rows, sizes


def undone(log: Signed, *steps: Callable[[Connection], object]) -> None:
    """A transaction that fails after these steps."""
    def work(conn: Connection) -> None:
        for step in steps:
            step(conn)
        raise KeyError

    with pytest.raises(KeyError):
        log.book.write(work)


def test_a_checkpoint_is_never_kept_outside_by_the_transaction_that_signs_it(signed: Signed) -> None:
    def seal(conn: Connection) -> bytes | None:
        return signed.log.seal(conn, datetime.now(UTC))

    signed.add(9)  # the tenth signs by itself, and the seal after it finds that signature
    undone(signed, lambda conn: signed.log.append(conn, entry(1)), seal)
    assert kept(signed) == 24
    signed.add(3)
    signed.seal()
    assert not signed.log.alarm and kept(signed) == sizes(signed)[-1] == 36


@pytest.mark.parametrize("seed", range(12))
def test_what_is_signed_is_what_the_book_holds_whatever_was_rolled_back_before(signed: Signed, seed: int) -> None:
    dice, gate = random.Random(seed), threading.Event()

    def append(conn: Connection) -> int:
        return signed.log.append(conn, entry(dice.randrange(1000)))

    def fail(conn: Connection) -> None:
        append(conn)
        raise KeyError

    def seal(conn: Connection) -> bytes | None:
        return signed.log.seal(conn, datetime.now(UTC))

    for _ in range(60):
        match dice.choice(("append", "undone", "undone", "undone seal", "together", "seal", "many")):
            case "append":
                signed.add(1)
            case "undone":
                undone(signed, *[append] * dice.randint(1, 12))
            case "undone seal":
                undone(signed, append, seal, append)
            case "together":  # neighbours in one commit, some of which are taken back
                gate.clear()
                signed.book.submit(lambda conn: gate.wait(30))
                done = [signed.book.submit(step) for step in dice.choices((append, fail), k=6)]
                gate.set()
                assert {type(one.exception(30)) for one in done} <= {type(None), KeyError}
            case "seal":
                signed.seal()
            case _:
                signed.add(9)
    signed.seal()
    assert not signed.log.alarm
    leaves = [leaf(row[4]) for row in rows(signed.path)]
    question = select(audit_checkpoints.c.size, audit_checkpoints.c.root)
    roots = signed.book.read(lambda conn: conn.execute(question).all())
    assert len(roots) > 10 and [one.root for one in roots] == [root(leaves[:one.size]).hex() for one in roots]
    assert verify(signed.path, strict=True)[0] == 0
