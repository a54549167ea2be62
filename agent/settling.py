"""Gives the ledger what things in the cloud have cost in the end."""

import asyncio
import logging

from agent.door import Door
from policies.tool import ToolFailed

log = logging.getLogger("luthier.agent")


class Settling:
    """One round asks the toolbox what has ended and settles each call once; a repeat writes nothing."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def round(self) -> None:
        """Settle what is to be settled. One that cannot be does not keep the others waiting."""
        for each in await asyncio.to_thread(self._door.toolbox.settlements):
            try:
                await self._door.gateway.settle_spend(each.call_id, each.micros, each.basis)
            except ToolFailed as failed:
                log.warning("the cost of the call %s was not settled: %s", each.call_id, failed)
