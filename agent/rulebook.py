"""The policy as people ask about it: where it comes from, whether its cases hold, reading it anew."""

import asyncio
from typing import Any

from agent.door import Door
from policies.cases import check_folder
from policies.people import Caller
from policies.tool import ToolFailed


class Rulebook:
    """Questions about the policy of one home."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def state(self) -> dict[str, Any]:
        """Where the rules in force come from, their hash, and the alarm when the folder holds something else or something broken."""
        gateway = self._door.gateway
        return {"source": str(gateway.policy.source), "hash": gateway.policy.hash, "alarm": gateway.alarm}

    async def test(self) -> dict[str, Any]:
        """Run the cases against the policy that lies in the home now, read anew."""
        return await asyncio.to_thread(self._test)

    async def reload(self, caller: Caller) -> dict[str, Any]:
        """Read the home's policy anew. A set that is not valid leaves the old one in force. Raises ToolFailed for who is no owner."""
        if self._door.people.role(caller.person) != "owner":
            raise ToolFailed("The policy was not read anew", f"{caller.person} is no owner here.", "Ask an owner.", kind="refused")
        ok, words = await self._door.gateway.reload_policy(caller)
        return {"ok": ok, "words": words, **self.state()}

    def _test(self) -> dict[str, Any]:
        results, policy = check_folder(self._door.settings.home / "policy")
        told = [{"file": one.file, "name": one.name, "ok": one.ok, "words": one.words} for one in results]
        return {"alarm": policy.alarm, "results": told}
