"""The policy as people ask about it."""

import shutil

import pytest

from agent.rulebook import Rulebook
from policies.people import Caller
from policies.tool import ToolFailed
from tests.agent.home import ME, Home


def copy_policy(home: Home) -> None:
    """The shipped policy as the home's own."""
    shipped = home.settings.root / "policies"
    (home.path / "policy").mkdir()
    for name in ("rules", "cases"):
        shutil.copytree(shipped / name, home.path / "policy" / name)
    shutil.copy2(shipped / "limits.toml", home.path / "policy" / "limits.toml")


async def test_the_shipped_cases_hold(home: Home) -> None:
    found = await Rulebook(home.door()).test()
    assert found["alarm"] == "" and found["results"] and all(each["ok"] for each in found["results"])


async def test_an_edited_policy_is_tested_before_it_is_in_force(home: Home) -> None:
    copy_policy(home)
    rulebook = Rulebook(home.door())
    limits = home.path / "policy" / "limits.toml"
    limits.write_text(limits.read_text("utf-8").replace("spending = true", "spending = perhaps"), "utf-8")
    assert (await rulebook.test())["alarm"]
    said = await rulebook.reload(ME)
    assert not said["ok"] and said["words"] and rulebook.state()["alarm"]


async def test_a_sound_edit_comes_into_force_by_reading_it_anew(home: Home) -> None:
    copy_policy(home)
    rulebook = Rulebook(home.door())
    before = rulebook.state()["hash"]
    limits = home.path / "policy" / "limits.toml"
    limits.write_text(limits.read_text("utf-8").replace("spending = true", "spending = false"), "utf-8")
    said = await rulebook.reload(ME)
    assert said["ok"] and said["hash"] != before and rulebook.state()["alarm"] == ""


async def test_only_an_owner_has_it_read_anew(home: Home) -> None:
    home.people.ensure_owner()
    home.people.add("ann", "Ann", "approver")
    with pytest.raises(ToolFailed, match="no owner"):
        await Rulebook(home.door()).reload(Caller("ann", "web"))
