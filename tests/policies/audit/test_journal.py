"""Records of many callers in one commit: each has its own number, and none suffers for another."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from policies.audit.journal import MOST, Journal
from policies.audit.record import Record
from policies.audit.verify import verify
from policies.book import BookBroken
from tests.policies.audit.logs import OWNER, Signed, entry, rows, sizes

BAD = Record("admin", "\ud800", OWNER)
"""No UTF-8 can hold it."""


@pytest.fixture
def journal(signed: Signed) -> Journal:
    return Journal(signed.book, signed.log)


def test_what_comes_while_the_book_is_busy_goes_into_one_commit(signed: Signed, journal: Journal) -> None:
    gate = threading.Event()
    held = signed.book.submit(lambda conn: gate.wait(30))
    entries = [journal.add(entry(number)) for number in range(2 * MOST)]
    gate.set()
    assert held.result() and [each.result() for each in entries] == [25 + number for number in range(2 * MOST)]
    assert [row[3] for row in rows(signed.path)][24:] == [f"call-{number}" for number in range(2 * MOST)]
    signed.seal()
    assert verify(signed.path, strict=True)[0] == 0


def test_a_record_that_cannot_be_kept_is_an_error_for_its_caller_alone(signed: Signed, journal: Journal) -> None:
    gate = threading.Event()
    signed.book.submit(lambda conn: gate.wait(30))
    before, bad, after = journal.add(entry(1)), journal.add(BAD), journal.add(entry(2))
    gate.set()
    assert (before.result(), after.result()) == (25, 26)
    with pytest.raises(ValueError, match="not canonical"):
        bad.result()
    signed.seal()
    assert verify(signed.path, strict=True)[0] == 0 and len(rows(signed.path)) == 26


def test_every_caller_of_many_threads_gets_a_number_of_its_own(signed: Signed, journal: Journal) -> None:
    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(lambda number: journal.add(entry(number)).result(), range(200)))
    assert sorted(numbers) == list(range(25, 225))
    by_number = {row[0]: row[3] for row in rows(signed.path)}
    assert all(by_number[seq] == f"call-{number}" for number, seq in enumerate(numbers))


async def test_a_caller_that_goes_away_does_not_undo_its_record(signed: Signed, journal: Journal) -> None:
    gate = threading.Event()
    signed.book.submit(lambda conn: gate.wait(30))
    going = asyncio.create_task(journal.add(entry(1)).done())
    staying = journal.add(entry(2))
    await asyncio.sleep(0)
    going.cancel()
    gate.set()
    assert await staying.done() == 26 and len(rows(signed.path)) == 26


def test_after_the_end_nothing_is_accepted(signed: Signed, journal: Journal) -> None:
    signed.book.close()
    with pytest.raises(BookBroken, match="closed"):
        journal.add(entry(1))


def test_a_long_run_of_records_is_signed_at_the_same_sizes_as_single_ones(signed: Signed) -> None:
    numbers = signed.book.write(lambda conn: signed.log.extend(conn, [entry(number) for number in range(25)]))
    assert numbers == list(range(25, 50)) and sizes(signed) == [10, 20, 24, 34, 44]
    signed.seal()
    assert verify(signed.path, strict=True)[0] == 0


def test_no_records_are_none(signed: Signed) -> None:
    assert signed.book.write(lambda conn: signed.log.extend(conn, [])) == [] and len(rows(signed.path)) == 24
