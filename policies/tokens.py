"""Tokens of a hosted brain: reserve the most that one answer can use, settle what it used, per person and UTC day.

Rows only add up, as in the ledger: a `reserve` stays open until one `release` of the same amount closes it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, case, func, select

from policies.book import Book, now_text
from policies.limits import Limits
from policies.tables import tokens


class OverTokens(Exception):
    """The answer could pass the cap of the person's day; nothing was written."""


@dataclass(frozen=True, slots=True)
class TokensUsed:
    """Tokens that are reserved and still open, and that were used on a day."""

    reserved: int
    settled: int

    @property
    def total(self) -> int:
        """What counts against the cap."""
        return self.reserved + self.settled


def used(conn: Connection, *, person: str | None = None, turn: str | None = None, since: str = "") -> TokensUsed:
    """Sums over the entries; `since` is the least `at` of what was used. An open reservation counts whenever it was made."""
    held = case((tokens.c.kind == "reserve", tokens.c.tokens), (tokens.c.kind == "release", -tokens.c.tokens), else_=0)
    spent = case(((tokens.c.kind == "settle") & (tokens.c.at >= since), tokens.c.tokens), else_=0)
    wanted = select(func.coalesce(func.sum(held), 0), func.coalesce(func.sum(spent), 0))
    if person is not None:
        wanted = wanted.where(tokens.c.person == person)
    if turn is not None:
        wanted = wanted.where(tokens.c.turn == turn)
    sums = conn.execute(wanted).one()
    return TokensUsed(int(sums[0]), int(sums[1]))


def used_today(conn: Connection, person: str, now: datetime) -> TokensUsed:
    """What a person has reserved, and used since midnight UTC."""
    return used(conn, person=person, since=now_text(now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)))


def reserve(conn: Connection, limits: Limits, *, turn: str, person: str, model: str, most: int, now: datetime) -> None:
    """Reserve for one answer. Raises OverTokens when the day's cap leaves less, and ValueError on a turn that was used before."""
    if most <= 0:
        raise ValueError("an answer can always use a token")
    if conn.execute(select(tokens.c.id).where(tokens.c.turn == turn).limit(1)).first() is not None:
        raise ValueError("every answer has a turn of its own")
    cap = limits.tokens.per_person_day
    left = cap - used_today(conn, person, now).total
    if most > left:
        raise OverTokens(f"It could use {most} tokens, and {max(0, left)} of this day's {cap} are left for {person}.")
    _add(conn, "reserve", turn, person, model, most, now)


def settle(conn: Connection, *, turn: str, actual: int | None, now: datetime) -> int:
    """Book what an answer used and close its reservation; None: nobody knows, so the most counts. Returns the overrun, which counts."""
    row = conn.execute(select(tokens).where(tokens.c.turn == turn, tokens.c.kind == "reserve")).one_or_none()
    held = used(conn, turn=turn).reserved
    if row is None or not held:
        return 0
    spent = held if actual is None else max(0, actual)
    if spent:
        _add(conn, "settle", turn, row.person, row.model, spent, now)
    _add(conn, "release", turn, row.person, row.model, held, now)
    return max(0, spent - held)


def settle_open(conn: Connection, now: datetime) -> int:
    """Close what a crash left open, as used in full: nobody knows how far the answers came. Returns how many there were."""
    left = set(conn.execute(select(tokens.c.turn).where(tokens.c.kind == "reserve")).scalars())
    left -= set(conn.execute(select(tokens.c.turn).where(tokens.c.kind == "release")).scalars())
    for turn in left:
        settle(conn, turn=turn, actual=None, now=now)
    return len(left)


def _add(conn: Connection, kind: str, turn: str, person: str, model: str, amount: int, now: datetime) -> None:
    conn.execute(tokens.insert().values(at=now_text(now), kind=kind, turn=turn, person=person, model=model, tokens=amount))


class Tokens:
    """The token entries of one home, for whoever asks a hosted brain."""

    def __init__(self, book: Book, limits: Callable[[], Limits], clock: Callable[[], datetime]) -> None:
        self._book, self._limits, self._clock = book, limits, clock

    async def reserve(self, turn: str, person: str, model: str, most: int) -> None:
        """Reserve the most that one answer can use. Raises OverTokens."""
        await self._book.awrite(lambda conn: reserve(
            conn, self._limits(), turn=turn, person=person, model=model, most=most, now=self._clock()))

    async def settle(self, turn: str, actual: int | None) -> None:
        """Book what it used; None when the provider did not say."""
        await self._book.awrite(lambda conn: settle(conn, turn=turn, actual=actual, now=self._clock()))

    def today(self, person: str) -> tuple[int, int]:
        """What a person has used and reserved today, and the cap."""
        return self._book.read(lambda conn: used_today(conn, person, self._clock())).total, self._limits().tokens.per_person_day
