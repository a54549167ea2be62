"""Another policy while the program runs: read anew on request, whole or not at all; and what is signed at the end."""

import asyncio
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from policies.audit.keys import KeyRing
from policies.people import Caller
from policies.policy import SHIPPED, Policy
from policies.tables import audit_checkpoints, audit_originals
from policies.tool import ToolFailed
from tests.policies.fakes_tools import FakeArgs, heavy, reading, spending
from tests.policies.home import OWNER, Home, ask


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped policy, to be changed."""
    made = tmp_path / "policy"
    shutil.copytree(SHIPPED / "rules", made / "rules")
    shutil.copyfile(SHIPPED / "limits.toml", made / "limits.toml")
    return made


def edit(folder: Path, old: str, new: str) -> None:
    """Change limits.toml."""
    text = (folder / "limits.toml").read_text()
    assert old in text
    (folder / "limits.toml").write_text(text.replace(old, new))


async def test_a_valid_policy_comes_into_force_is_recorded_and_voids_what_waits(home: Home, folder: Path) -> None:
    gateway = home.gateway({"start": heavy(), "pay": spending(10)}, Policy.load(folder), folder=folder)
    view, old = await ask(gateway), gateway.policy.hash
    edit(folder, "spending = true", "spending = false")
    ok, words = await gateway.reload_policy(OWNER)
    assert ok and gateway.policy.hash[:12] in words and gateway.policy.hash != old and gateway.alarm == ""
    found = gateway.approval(view.id)
    assert found is not None and found.status == "revoked"
    assert (await gateway.call("pay", {}, OWNER)).status == "refused" and (await gateway.call("start", {}, OWNER)).status == "waiting"
    last = [one for one in home.records() if one["kind"] == "policy"][-1]
    assert (last["event"], last["actor"]["sub"], last["policy"]["hash"]) == ("loaded", "owner", gateway.policy.hash)


async def test_a_policy_that_is_not_valid_leaves_the_old_one_in_force_and_raises_the_alarm(home: Home, folder: Path) -> None:
    gateway = home.gateway({"start": heavy(), "look": reading()}, Policy.load(folder), folder=folder)
    old = gateway.policy.hash
    edit(folder, "quorum = 1", "quorum = 0")
    ok, words = await gateway.reload_policy(OWNER)
    assert not ok and "not valid" in words and gateway.alarm == words and gateway.policy.hash == old and not gateway.policy.alarm
    assert [one["event"] for one in home.records() if one["kind"] == "policy"] == ["loaded", "changed_on_disk", "not_loaded"]
    assert (await gateway.call("look", {}, OWNER)).status == "done"
    await gateway.sweep()
    assert gateway.alarm == words
    edit(folder, "quorum = 0", "quorum = 1")
    assert (await gateway.reload_policy(OWNER))[0] and gateway.alarm == ""


async def test_a_folder_that_appears_is_read_when_asked_for(home: Home, folder: Path, tmp_path: Path) -> None:
    gateway = home.gateway({}, Policy.load(), folder=tmp_path / "new")
    assert (await gateway.reload_policy(OWNER))[1].startswith("The policy is the one in force")
    edit(folder, "max_pending = 5", "max_pending = 1")
    folder.rename(tmp_path / "new")
    assert (await gateway.reload_policy(OWNER))[0] and gateway.policy.limits.approval.max_pending == 1


@pytest.mark.parametrize("caller", [
    Caller("bob", "web"), Caller("owner", "mcp"), Caller("owner", "slack"), Caller("system", "system"),
], ids=["an approver", "a program", "a chat", "the system"])
async def test_who_may_not_have_it_read(home: Home, folder: Path, caller: Caller) -> None:
    home.people.add("bob", "Bob", "approver")
    gateway = home.gateway({}, Policy.load(folder), folder=folder)
    edit(folder, "quorum = 1", "quorum = 2")
    ok, words = await gateway.reload_policy(caller)
    assert not ok and "Only an owner" in words and gateway.policy.limits.approval.quorum == 1


async def test_a_call_judged_under_the_old_policy_is_judged_again_before_its_intent(home: Home, folder: Path) -> None:
    proposing, free = threading.Event(), threading.Event()

    def before(args: FakeArgs) -> None:
        proposing.set()
        free.wait(30)

    tool = spending(10, before=before)
    gateway = home.gateway({"pay": tool}, Policy.load(folder), folder=folder)
    calling = asyncio.create_task(gateway.call("pay", {}, OWNER))
    await asyncio.to_thread(proposing.wait, 30)
    edit(folder, "spending = true", "spending = false")
    assert (await gateway.reload_policy(OWNER))[0]
    free.set()
    answer = await calling
    assert answer.status == "refused" and "switched off" in answer.reason and gateway.pending() == ()


async def test_explaining_a_call_does_nothing_and_says_what_would_change_it(home: Home) -> None:
    tool = spending(10)
    gateway = home.gateway({"pay": tool})
    said = (await gateway.explain("pay", {}, OWNER)).as_json()
    assert said["verdict"] == "ask" and not tool.done and gateway.pending() == ()
    for name, raw, caller in (("none", {}, OWNER), ("pay", {"odd": 1}, OWNER), ("pay", {}, Caller("nobody", "web"))):
        with pytest.raises(ToolFailed):
            await gateway.explain(name, raw, caller)


async def test_the_log_is_signed_when_a_checkpoint_is_due_and_at_the_end(home: Home, tmp_path: Path) -> None:
    def sizes() -> list[Any]:
        return list(home.book.read(lambda conn: conn.execute(select(audit_checkpoints.c.size)).scalars()))

    gateway = home.gateway({"look": reading()}, keys=KeyRing.open(tmp_path / "keys"))
    await gateway.call("look", {}, OWNER)
    await gateway.sweep()
    first = sizes()
    assert first == [len(home.records())]
    await gateway.call("look", {}, OWNER)
    gateway.close()
    assert sizes() == [*first, len(home.records())]


async def test_at_the_end_the_last_checkpoint_is_kept_outside_the_book_too(home: Home, tmp_path: Path) -> None:
    gateway = home.gateway({"look": reading()}, keys=KeyRing.open(tmp_path / "keys"))
    await gateway.call("look", {"name": "x"}, OWNER)
    gateway.close()
    newest = select(audit_checkpoints.c.note).order_by(audit_checkpoints.c.size.desc()).limit(1)
    kept = home.book.read(lambda conn: conn.execute(newest).scalar_one())
    assert (tmp_path / "keys" / "last.checkpoint").read_bytes() == kept


async def test_originals_older_than_the_limits_allow_are_erased_with_a_record_and_the_log_stays_valid(home: Home) -> None:
    gateway = home.gateway({"look": reading()})
    done = await gateway.call("look", {"name": "x"}, OWNER)
    originals = select(audit_originals.c.seq)
    home.clock.forward(days=gateway.policy.limits.audit.retention_days - 2)
    await gateway.sweep()
    assert home.book.read(lambda conn: list(conn.execute(originals).scalars()))
    home.clock.forward(days=4)
    await gateway.sweep()
    await gateway.sweep()
    assert not home.book.read(lambda conn: list(conn.execute(originals).scalars()))
    assert [one["event"] for one in home.records() if one["kind"] == "admin"] == ["originals_erased"]
    assert home.records(done.call_id)[0]["args"]["name"] == "x"
    assert home.intact()
