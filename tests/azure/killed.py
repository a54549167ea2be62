"""`python -m tests.azure.killed`: whole programs on a stand-in that another process serves, forked one after the other, to be killed."""

import faulthandler
import json
import os
from pathlib import Path
from typing import Any

import azure.mgmt.appcontainers
import azure.mgmt.loganalytics
import azure.mgmt.resource.resources
import azure.mgmt.storage
import azure.storage.fileshare  # noqa: F401 - once for every program
from azure.core.pipeline.transport import RequestsTransport

from policies import fault
from tests.azure.lives import OF_RUNS, OF_THE_REST, Elsewhere, Rest, Runs
from tests.azure.run_home import QUICK
from tests.faults.breaker import jump
from tests.faults.nursery import main

LIFE_S = 60
"""No program lives longer; one that does says where it hung."""
READING = ("/listkeys", "/sharedkeys", "/getauthtoken", "/checknameavailability")
"""Ends of the paths of those POSTs that change nothing."""


async def play(name: str, home: Path, said: Path, facts: dict[str, Any]) -> None:
    """Sign in, open the home, recover, do what the name says to its end, close. `later_s`: so far ahead is the clock of this machine."""
    os.environ.update(facts["env"])
    hung = os.open(f"{said}.txt", os.O_WRONLY | os.O_CREAT, 0o600)
    faulthandler.dump_traceback_later(LIFE_S, exit=True, file=hung)
    _watch_the_wire(said, str(facts["endpoint"]))
    cloud: Any = Elsewhere(Path(facts["share"]), facts["endpoint"], Path(facts["ca"]))
    if facts["later_s"]:
        jump(float(facts["later_s"]))
    if name in OF_RUNS:
        runs = Runs(home, cloud, facts.get("in_flight", QUICK.in_flight), facts.get("lost", QUICK.lost))
        await runs.gateway.recover()
        await OF_RUNS[name](runs, facts)
        runs.close()
    else:
        rest = Rest(home, cloud)
        await rest.gateway.recover()
        await OF_THE_REST[name](rest, facts)
        await rest.close()
    faulthandler.cancel_dump_traceback_later()


def _watch_the_wire(said: Path, arm: str) -> None:
    """Every write that leaves the process has the points `wire.…` beside it; points and writes are told in their order."""
    passing, send = fault.point, RequestsTransport.send
    told = said.open("a", buffering=1)

    def point(name: str, /) -> None:
        told.write(json.dumps({"point": name}) + "\n")
        passing(name)

    def sent(self: Any, request: Any, **more: Any) -> Any:
        path = str(request.url).partition("?")[0]
        if request.method in ("GET", "HEAD") or path.lower().endswith(READING):
            return send(self, request, **more)
        side = "arm" if path.startswith(arm) else "share"
        point(f"wire.{side}.before")
        told.write(json.dumps({"write": f"{request.method} {path}"}) + "\n")
        try:
            return send(self, request, **more)
        finally:
            point(f"wire.{side}.after")

    fault.point = point
    RequestsTransport.send = sent  # type: ignore[method-assign]


if __name__ == "__main__":
    main(play)
