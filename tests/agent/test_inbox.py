"""Approvals as one person may see them, and asking again."""

import pytest

from policies.people import Caller
from policies.tool import ToolFailed
from tests.agent.home import ME, Home

ANN, BOB, EVE = (Caller(name, "web", "link") for name in ("ann", "bob", "eve"))
CHAT = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.fixture(autouse=True)
def people(home: Home) -> None:
    """An owner, a member, an approver, a viewer."""
    home.people.ensure_owner()
    for person, role in (("ann", "member"), ("bob", "approver"), ("eve", "viewer")):
        home.people.add(person, person.capitalize(), role)  # type: ignore[arg-type]


async def test_ones_own_and_everybodys_for_those_whose_role_it_is(home: Home) -> None:
    async with home.workshop() as shop:
        view = (await shop.call("heavy", {"name": "a"}, ANN)).approval
        assert view is not None
        seen = {who.person: [each.id for each in shop.inbox.waiting(who)] for who in (ME, ANN, BOB, EVE)}
        assert seen == {"owner": [view.id], "ann": [view.id], "bob": [view.id], "eve": []}
        assert shop.inbox.seen(view.id, EVE) is None and shop.inbox.seen("00000000", ME) is None
        assert shop.inbox.may_not(view.id, BOB) == "" and "may not" in shop.inbox.may_not(view.id, EVE)


async def test_several_are_decided_at_once_and_each_is_done_once(home: Home) -> None:
    async with home.workshop() as shop:
        first = (await shop.call("heavy", {"name": "a"}, ANN)).approval
        second = (await shop.call("start_finetune", {"model": "m", "dataset": "d"}, ANN)).approval
        assert first is not None and second is not None
        done = await shop.inbox.decide_many([first.id, second.id], "approve", BOB)
        assert [each.ok for each in done] == [True, True] and home.calls("heavy") == home.calls("start_finetune") == 1
        with pytest.raises(ToolFailed):
            await shop.inbox.decide_many([first.id, "00000000"], "approve", BOB)


async def test_what_was_made_void_is_asked_again_as_a_new_proposal(home: Home) -> None:
    async with home.workshop() as shop:
        old = (await shop.call("heavy", {"name": "a"}, ANN)).approval
        assert old is not None
        with pytest.raises(ToolFailed, match="pending"):
            await shop.inbox.ask_again(old.id, ANN)
        home.book.write(lambda conn: conn.exec_driver_sql("UPDATE approvals SET state = 'expired'"))
        with pytest.raises(ToolFailed, match="no approval of yours"):
            await shop.inbox.ask_again(old.id, BOB)
        again = await shop.inbox.ask_again(old.id, ANN)
        assert again.approval is not None and again.approval.id != old.id and again.approval.status == "pending"
        twice = await shop.inbox.ask_again(old.id, ANN)
        assert twice.approval is not None and twice.approval.id == again.approval.id, "a second press is the same request"


async def test_a_conversation_belongs_to_whoever_called_first_in_it(home: Home) -> None:
    async with home.workshop() as shop:
        assert not shop.inbox.is_foreign(CHAT, BOB)
        await shop.call("look", {}, Caller("ann", "web", thread=CHAT))
        assert shop.inbox.is_foreign(CHAT, BOB) and not shop.inbox.is_foreign(CHAT, ANN)
        assert shop.inbox.is_foreign("terminal", ANN), "a terminal's conversation is none of the web's"
