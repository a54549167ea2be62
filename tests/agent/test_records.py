"""The record as people read it, and what its keeper does, over a real log."""

from pathlib import Path

import pytest

from agent.archive import Archive
from agent.records import Records
from policies.people import Caller
from policies.tool import ToolFailed
from tests.agent.home import ME, Home

ANN, AUD = Caller("ann", "web", "link"), Caller("aud", "web", "link")


@pytest.fixture(autouse=True)
def people(home: Home) -> None:
    """An owner, a member, an auditor."""
    home.people.ensure_owner()
    home.people.add("ann", "Ann", "member")
    home.people.add("aud", "Aud", "auditor")


async def test_everybody_reads_their_own_and_owners_and_auditors_all(home: Home) -> None:
    async with home.workshop() as shop:
        await shop.call("look", {"name": "mine"}, ME)
        done = await shop.call("look", {"name": "hers"}, ANN)
        hers = shop.records.search(ANN, {})
        assert {each["actor"]["sub"] for each in hers} == {"ann"} and not shop.records.search(ANN, {"person": "owner"})
        for who in (ME, AUD):
            assert {each["actor"]["sub"] for each in shop.records.search(who, {})} >= {"ann", "owner"}
        assert [each["seq"] for each in shop.records.search(ME, {"tool": "look"}, before=hers[-1]["seq"])], "older ones"
        assert shop.records.story(done.call_id, ANN) == shop.records.story(done.call_id, AUD) != []
        foreign = shop.records.search(ME, {"person": "owner", "tool": "look"})[0]
        assert shop.records.record(foreign["seq"], ANN) is None and shop.records.record(foreign["seq"], AUD) == foreign
        assert not shop.records.story(foreign["tool"]["call_id"], ANN)
        with pytest.raises(ToolFailed, match="that you may see"):
            shop.records.prove(foreign["seq"], ANN)


async def test_an_approver_reads_the_story_of_what_they_decided(home: Home) -> None:
    home.people.add("bob", "Bob", "approver")
    bob = Caller("bob", "web", "link")
    async with home.workshop() as shop:
        view = (await shop.call("heavy", {}, ANN)).approval
        assert view is not None
        assert not shop.records.story(view.id, bob)
        await shop.decide(view.id, "approve", bob)
        events = [each["event"] for each in shop.records.story(view.id, bob)]
        assert events[:3] == ["requested", "granted", "consumed"]
        asked = shop.records.story(view.id, bob)[0]
        assert shop.records.record(asked["seq"], bob) == asked


async def test_a_record_is_proved_and_where_no_checkpoint_covers_it_one_is_signed(home: Home) -> None:
    async with home.workshop(sweep_s=60) as shop:
        for _ in range(2):
            await shop.call("look", {}, ME)
            last = shop.records.search(ME, {})[0]["seq"]
            proof = shop.records.prove(last, ME)
            assert proof["seq"] == last <= proof["size"] and proof["note"].startswith("luthier/")
            assert shop.records.state()["signed"] == proof["size"] and shop.records.state()["checkpoint_age_s"] >= 0
    with pytest.raises(ToolFailed):
        Records(home.door()).prove(10**9, ME)


async def test_the_verifier_runs_as_a_program_and_is_noted(home: Home) -> None:
    async with home.workshop() as shop:
        done = await shop.records.verify(AUD)
        assert done.status == 0, done.text
        assert shop.records.search(ME, {"kind": "admin", "person": "aud"})[0]["event"] == "verified"
        names = home.book.read(lambda conn: conn.exec_driver_sql("SELECT name FROM sqlite_master WHERE type='trigger'").scalars().all())
        for name in names:
            home.book.write(lambda conn, name=name: conn.exec_driver_sql(f"DROP TRIGGER {name}"))
        home.book.write(lambda conn: conn.exec_driver_sql("UPDATE audit SET record = x'7b7d' WHERE seq = 1"))
        assert (await shop.records.verify(ME)).status == 1


async def test_the_keeper_exports_checks_erases_and_rotates(home: Home, tmp_path: Path) -> None:
    async with home.workshop() as shop:
        await shop.call("look", {"name": "mine"}, ME)
        archive = shop.archive
        done = await archive.export(str(tmp_path / "out"), "jsonl", "", AUD)
        assert Path(done["file"]).is_file() and Path(done["digest"]).is_file()
        assert await archive.fsck(AUD) == []
        with_args = next(each for each in shop.records.search(ME, {"tool": "look"}) if each["args"] is not None)
        assert await archive.erase(with_args["seq"], ME) == {"seq": with_args["seq"], "erased": True}
        assert not (await archive.erase(with_args["seq"], ME))["erased"]
        before = archive.key()
        assert (await archive.rotate(ME))["key_id"] != before["key_id"]
        assert Path(archive.key()["public_key_file"]).read_text().strip() == archive.key()["public_key"]
        assert (await shop.records.verify(ME)).status == 0


@pytest.mark.parametrize("since", ["yesterday", "9999999", "-1"])
async def test_what_cannot_be_exported_is_said(home: Home, tmp_path: Path, since: str) -> None:
    async with home.workshop() as shop:
        with pytest.raises(ToolFailed) as told:
            await shop.archive.export(str(tmp_path), "jsonl", since, ME)
        assert told.value.try_next


async def test_a_member_keeps_nothing_of_it(home: Home, tmp_path: Path) -> None:
    archive = Archive(home.door())
    for work in (lambda: archive.export(str(tmp_path), "jsonl", "", ANN), lambda: archive.fsck(ANN), lambda: archive.erase(1, ANN),
                 lambda: archive.rotate(ANN), lambda: archive.erase(1, AUD), lambda: archive.rotate(AUD)):
        with pytest.raises(ToolFailed, match="here"):
            await work()
