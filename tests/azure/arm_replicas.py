"""The running side of a container app: its command as a child, started at the first request, behind an address that checks who asks."""

import asyncio
import contextlib
import ipaddress
import json
import socket
import threading
import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from tests.azure.executions import Child, MountFailed, command_of, environment_of, mounts_of
from tests.azure.world import World

UP_WITHIN_S = 90.0
_HOP = frozenset({b"connection", b"transfer-encoding", b"keep-alive", b"host"})


@dataclass(eq=False)
class Revision:
    """One revision and, while it is awake, its one replica."""

    name: str
    template: dict[str, Any]
    created: datetime
    active: bool = True
    child: Child | None = None
    port: int = 0
    failed: str = ""
    """Why it did not come up."""
    requests: int = 0
    starts: int = 0
    seconds: float = 0.0
    """How long its replicas have been up, without the present one."""
    since: float = 0.0

    @property
    def awake(self) -> bool:
        """Whether a replica is up."""
        return self.child is not None and self.child.process.poll() is None


class AppSide:
    """All revisions of one app. `serve` is its address as an ASGI app."""

    def __init__(self, world: World, rid: str) -> None:
        self.world, self.rid = world, rid
        self.revisions: list[Revision] = []
        self.stopped = False
        self._lock = threading.RLock()
        self.port = world.open_port(self.serve) if world.open_port else 0

    @property
    def app(self) -> dict[str, Any] | None:
        """The resource; None once it is deleted."""
        return self.world.resources.get(self.rid.lower())

    def add(self, name: str, template: dict[str, Any], single: bool) -> Revision:
        """A new revision, or the one of this name when nothing has changed."""
        old = next((each for each in self.revisions if each.name == name), None)
        if old is None:
            old = Revision(name, template, self.world.now())
            self.revisions.append(old)
        old.active = True
        if name in self.world.broken_revisions:
            old.failed = "the startup probe failed"
        if single:
            for each in self.revisions:
                if each is not old:
                    self.sleep(each)
                    each.active = False
        if (template.get("scale") or {}).get("minReplicas") or self.world.apps_start_at_once:
            threading.Thread(target=self.wake, args=[old], daemon=True).start()
        return old

    def weight(self, revision: Revision) -> int:
        """Its share of the requests, in percent."""
        if self.app is None or not revision.active:
            return 0
        rows = self.app["properties"]["configuration"]["ingress"].get("traffic") or [{"latestRevision": True, "weight": 100}]
        latest = self.app["properties"].get("latestRevisionName")
        return sum(row["weight"] for row in rows
                   if row.get("revisionName") == revision.name or (row.get("latestRevision") and revision.name == latest))

    def wake(self, revision: Revision) -> bool:
        """Start its replica and wait for the startup probe; says whether it is up."""
        with self._lock:
            if revision.awake or self.world.closing.is_set():
                return revision.awake
            revision.starts += 1
            name = f"{revision.name}-{revision.starts}"
            home = self.world.scratch / f"workdir-{name}"
            home.mkdir(parents=True, exist_ok=True)
            try:
                mounts = mounts_of(self.world, self.rid.lower(), name, revision.template)
                revision.port = _free_port()
                wanted = str(self._target())
                words = [str(revision.port) if each == wanted else each for each in command_of(self.world, revision.template, mounts)]
                environment = environment_of(self.world, self.rid.lower(), revision.template, mounts, home / "home")
                environment.update(CONTAINER_APP_NAME=self.rid.rpartition("/")[2], CONTAINER_APP_REVISION=revision.name,
                                   CONTAINER_APP_REPLICA_NAME=name)
                revision.child = Child(words, environment, home, home / "console.txt")
            except (MountFailed, OSError, IndexError) as error:
                revision.failed = str(error)
                return False
            revision.since = time.monotonic()
        return self._probe(revision)

    def _probe(self, revision: Revision) -> bool:
        probes = revision.template["containers"][0].get("probes") or []
        path = next((each["httpGet"]["path"] for each in probes if each["type"] == "Startup"), "/")
        until = time.monotonic() + UP_WITHIN_S
        while time.monotonic() < until and revision.awake:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{revision.port}{path}", timeout=5).status_code < 400:
                    revision.failed = ""
                    return True
            if self.world.closing.wait(0.05):
                break
        if revision.child is not None:
            revision.failed = f"the container ended with {revision.child.process.poll()} or its startup probe failed"
        self.sleep(revision)
        return False

    def sleep(self, revision: Revision) -> None:
        """Take its replica away."""
        child, revision.child = revision.child, None
        if child is not None:
            revision.seconds += time.monotonic() - revision.since
            child.terminate()
            with contextlib.suppress(Exception):
                child.process.wait(5)
            child.kill()
            child.process.wait()

    def scale_to_zero(self) -> None:
        """As after the cooldown."""
        for each in self.revisions:
            self.sleep(each)

    close = scale_to_zero

    def _target(self) -> int:
        return self.app["properties"]["configuration"]["ingress"]["targetPort"] if self.app else 0

    def _allowed(self, address: str) -> bool:
        rules = (self.app or {})["properties"]["configuration"]["ingress"].get("ipSecurityRestrictions") or []
        inside = [each for each in rules if ipaddress.ip_address(address) in ipaddress.ip_network(each["ipAddressRange"], strict=False)]
        if not rules:
            return True
        return bool(inside) if rules[0]["action"] == "Allow" else not inside

    def _choose(self) -> Revision | None:
        weighted = [(each, self.weight(each)) for each in self.revisions]
        able = [(each, weight) for each, weight in weighted if weight]
        return min(able, key=lambda pair: (pair[0].requests + 1) / pair[1])[0] if able else None

    async def serve(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """One request from outside."""
        from tests.azure.arm import body_of

        self.world.note("app", scope["method"], scope["path"])
        body = await body_of(receive)
        if self.app is None or self.stopped:
            return await _say(send, 404, "Error 404 - This Container App is stopped or does not exist.")
        if not self._allowed(scope["client"][0]):
            return await _say(send, 403, "RBAC: access denied")
        revision = self._choose()
        if revision is None:
            return await _say(send, 404, "no revision takes requests")
        revision.requests += 1
        if not await asyncio.to_thread(self.wake, revision) and not revision.awake:
            return await _say(send, 503, "upstream connect error or disconnect/reset before headers")
        headers = [(key, value) for key, value in scope["headers"] if key not in _HOP]
        url = f"http://127.0.0.1:{revision.port}{scope['path']}" + (f"?{scope['query_string'].decode()}" if scope["query_string"] else "")
        try:
            async with (httpx.AsyncClient(timeout=240) as client,
                        client.stream(scope["method"], url, headers=headers, content=body) as answer):
                kept = [(key, value) for key, value in answer.headers.raw if key.lower() not in _HOP]
                await send({"type": "http.response.start", "status": answer.status_code, "headers": kept})
                async for part in answer.aiter_raw():
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        except httpx.HTTPError:
            await _say(send, 503, "upstream connect error or disconnect/reset before headers")
        return None


async def _say(send: Any, status: int, text: str) -> None:
    data = json.dumps({"error": text}).encode()
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", str(len(data)).encode())]})
    await send({"type": "http.response.body", "body": data})


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
