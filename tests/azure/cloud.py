"""Azure on loopback for tests: management over TLS, files, logs, prices, registry, and a plain address that signs in.

Other parts plug in by file: `files_server.files_app(world)` is served on a TLS port of its own, `logs_server.logs_app(world)` at
`/logstream` and `/loganalytics` (both stay in the paths that it sees), `prices_server.prices_app(world)` at `/prices` (its paths begin
with `/api/retail/prices`), and `prices_server.COST_ROUTES` are management routes (tests/azure/arm_calls.py).
"""

import asyncio
import importlib
import importlib.util
import os
import shutil
import socket
import tempfile
import threading
import traceback
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, Self

import trustme
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from starlette.types import ASGIApp

from tests.azure import executions
from tests.azure.arm import Arm
from tests.azure.arm_identity import HEADER, identity_app
from tests.azure.arm_prepared import prepare
from tests.azure.arm_registry import registry_app
from tests.azure.arm_replicas import AppSide
from tests.azure.faults import Faults
from tests.azure.world import Behaviour, Execution, World
from tools.azure.choice import AzureChoice
from tools.azure.place import CloudPlace

ROOT = Path(__file__).resolve().parents[2]
WORKSPACE = "workspace-of-a-test"


class Cloud:
    """Enter it to start it; leave it and every process it started has ended."""

    def __init__(self, folder: Path | None = None, *, engine_python: Path = ROOT / ".engine-cpu" / "bin" / "python") -> None:
        self._folder = Path(folder or tempfile.mkdtemp(prefix="cloud-"))
        self._temporary = folder is None
        self._servers: list[uvicorn.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cloud", daemon=True)
        self.share_root = self._folder / "share"
        """The share `luthier` as a folder."""
        scratch = self._folder / "scratch"
        for each in (self.share_root, scratch):
            each.mkdir(parents=True, exist_ok=True)
        self.faults = Faults()
        self.world = World(self.share_root, scratch, engine_python, self.faults)
        self.ca = self._folder / "ca.pem"

    def __enter__(self) -> Self:
        """Start every server; gives itself when they listen."""
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        authority.cert_pem.write_to_path(self.ca)
        issued = authority.issue_cert("127.0.0.1", "localhost", key_type=trustme.KeyType.ECDSA)
        self._chain = self._folder / "chain.pem"
        issued.private_key_and_cert_chain_pem.write_to_path(self._chain)
        self._thread.start()
        world = self.world
        world.open_port = lambda app: int(self._listen(app).rpartition(":")[2])
        world.addresses["identity"] = self._listen(identity_app(world), tls=False)
        world.addresses["files"] = self._listen(_plugged("files_server", "files_app", world))
        world.addresses["arm"] = self._listen(self._front())
        return self

    def __exit__(self, *_: object) -> None:
        """End executions, replicas and servers."""
        self.world.closing.set()
        executions.close(self.world)
        for server in self._servers:
            server.should_exit = True
            server.force_exit = True
        asyncio.run_coroutine_threadsafe(self._gone(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        if self._temporary:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def endpoint(self) -> str:
        """`https://127.0.0.1:PORT`."""
        return self.world.addresses["arm"]

    @property
    def identity(self) -> dict[str, str]:
        """Environment variables that make DefaultAzureCredential sign in here."""
        return {"IDENTITY_ENDPOINT": self.world.addresses["identity"] + "/msi/token", "IDENTITY_HEADER": HEADER}

    @property
    def arm(self) -> World:
        """The state, to look at and to change."""
        return self.world

    @property
    def requests(self) -> list[tuple[str, str]]:
        """Method and path of each management request so far."""
        return [(each.method, each.path) for each in self.world.sent if each.host == "arm"]

    @property
    def violations(self) -> list[str]:
        """Bodies that broke a schema."""
        return self.world.violations

    @property
    def executions(self) -> list[Execution]:
        """Every execution there has been, in order of their start."""
        return self.world.all_executions()

    def bodies(self, method: str, part: str) -> list[Any]:
        """The bodies of the management requests of a method whose path holds `part`, ignoring case."""
        return [each.body for each in self.world.sent
                if each.host == "arm" and each.method == method and part.lower() in each.path.lower()]

    def app(self, name: str) -> AppSide:
        """The running side of a container app: its revisions, whether a replica is up, `scale_to_zero`."""
        return next(side for rid, side in self.world.apps.items() if rid.endswith(f"/containerapps/{name.lower()}"))

    def script(self, *behaviours: Behaviour) -> None:
        """What the next executions do in place of running their commands."""
        self.world.scripts.extend(behaviours)

    def choice(self, **changes: Any) -> AzureChoice:
        """Settings that point the product here."""
        return AzureChoice(**{"endpoint": self.endpoint, "ca": self.ca, "region": "westus3", **changes})

    def prepared(self, workspace: str = WORKSPACE, region: str = "westus3") -> CloudPlace:
        """A region that is prepared already for a workspace, without a request."""
        return prepare(self.world, self.choice(region=region), workspace, region)

    def _front(self) -> ASGIApp:
        logs = _plugged("logs_server", "logs_app", self.world)
        has_prices = importlib.util.find_spec("tests.azure.prices_server")
        more = getattr(importlib.import_module("tests.azure.prices_server"), "COST_ROUTES", ()) if has_prices else ()
        arm = Arm(self.world, self.drop, more)
        front = Starlette(routes=[
            Mount("/prices", _plugged("prices_server", "prices_app", self.world)),
            Mount("/registry", registry_app(self.world)),
        ])

        async def dispatch(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
            first = scope["path"].split("/")[1]
            chosen = front if first in ("prices", "registry") else logs if first in ("logstream", "loganalytics") else arm
            await chosen(scope, receive, send)

        return dispatch

    def drop(self, scope: MutableMapping[str, Any]) -> None:
        """Cut the connection of a request."""
        for server in self._servers:
            for each in list(server.server_state.connections):
                if getattr(each, "client", None) == scope["client"]:
                    each.transport.abort()  # type: ignore[union-attr]

    def _listen(self, app: ASGIApp, *, tls: bool = True) -> str:
        return asyncio.run_coroutine_threadsafe(self._serve(app, tls), self._loop).result(20)

    async def _serve(self, app: ASGIApp, tls: bool) -> str:
        # Named as TCP, so that asyncio sends what it has at once: else each answer waits 40 ms for an acknowledgement.
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
        chain = str(self._chain) if tls else None
        server = uvicorn.Server(uvicorn.Config(
            self._told(app), http="h11", ws="none", lifespan="off", log_level="critical", server_header=False, date_header=False,
            log_config=None, ssl_certfile=chain, ssl_keyfile=chain, timeout_keep_alive=75, timeout_graceful_shutdown=1))
        server.served = asyncio.ensure_future(server.serve(sockets=[bound]))  # type: ignore[attr-defined]
        while not server.started:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.002)
        self._servers.append(server)
        return f"{'https' if tls else 'http'}://127.0.0.1:{bound.getsockname()[1]}"

    def _told(self, app: ASGIApp) -> ASGIApp:
        async def call(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
            try:
                await app(scope, receive, send)
            except Exception:
                self.world.violations.append(f"the stand-in broke at {scope['method']} {scope['path']}: {traceback.format_exc()}")
                raise

        return call

    async def _gone(self) -> None:
        await asyncio.gather(*(server.served for server in self._servers), return_exceptions=True)  # type: ignore[attr-defined]


def _plugged(module: str, maker: str, world: World) -> ASGIApp:
    name = f"tests.azure.{module}"
    if importlib.util.find_spec(name) is None:
        return PlainTextResponse(f"{module} is not part of this stand-in", 404)
    return getattr(importlib.import_module(name), maker)(world)


def signed_out() -> list[str]:
    """Environment variables that would sign in anywhere else; a test takes them away."""
    return [name for name in os.environ if name.startswith(("AZURE_", "IDENTITY_", "MSI_", "ARM_"))]


