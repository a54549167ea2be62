"""A real server on a real home where three people live, each with a thread, a run, a file and a request of their own."""

import asyncio
import json
import secrets
import sqlite3
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import socketio

from agent.links import Links
from policies.gateway import Gateway
from tests.attacks.siege import BOB, ME, MEL, Siege, waiting
from tests.ui.served import REAL, Served

SOCKET = "/chat/ws/socket.io"
COOKIE = "luthier_session"
RUNS = {"owner": "0123456789", "bob": "abcdefghjk", "mel": "mnpqrstvwx"}
THREADS = {person: str(uuid.uuid5(uuid.NAMESPACE_URL, person)) for person in RUNS}
"""A web conversation is named by a UUID."""


class Besieged:
    """The server, its address, and a signed-in client for each person."""

    def __init__(self, folder: Path) -> None:
        (folder / "home").mkdir(mode=0o700)
        siege = Siege(folder)
        siege.people.add("bob", "Bob", "member")
        siege.people.add("mel", "Mel", "member")
        self.home, self.approvals = siege.path, asyncio.run(self._requests(siege))
        for person, run_id in RUNS.items():
            siege.run(run_id, person, THREADS[person], log=f"a line of {person}\n")
        links = Links(siege.book)
        tokens = {person: links.make(person) for person in RUNS}
        siege.close()
        self.served = Served(self.home, REAL, {"LUTHIER_BUNDLED": str(folder / "bundled")}).start()
        self.url = self.served.url
        self.tokens = {person: httpx.get(f"{self.url}/enter?t={token}").cookies[COOKIE] for person, token in tokens.items()}
        self.users = self._screens()

    @staticmethod
    async def _requests(siege: Siege) -> dict[str, str]:
        gateway = Gateway.open(
            home=siege.path, tools=siege.toolbox.tools, book=siege.book, people=siege.people, defaults=siege.toolbox.defaults
        )
        views = [await waiting(gateway, "launch", replace(caller, thread=THREADS[caller.person])) for caller in (ME, BOB, MEL)]
        return {view.requester: view.id for view in views}

    def _screens(self) -> dict[str, str]:
        """Each person's thread with a message and an element, as Chainlit would have kept them; the users' ids."""
        with sqlite3.connect(self.home / "screen.sqlite", timeout=30) as screen:
            users = dict(screen.execute("SELECT identifier, id FROM users").fetchall())
            for person, user in users.items():
                thread, at = THREADS[person], "2026-11-24T10:00:00Z"
                screen.execute(
                    'INSERT INTO threads ("id", "createdAt", "name", "userId", "userIdentifier") VALUES (?, ?, ?, ?, ?)',
                    (thread, at, f"words of {person}", user, person),
                )
                screen.execute(
                    'INSERT INTO steps ("id", "threadId", "name", "type", "output", "createdAt", "metadata", "generation") '
                    "VALUES (?, ?, ?, 'user_message', ?, ?, '{}', '{}')",
                    (f"step-{person}", thread, person, f"words of {person}", at),
                )
                props = json.dumps({"id": self.approvals[person]})
                screen.execute(
                    'INSERT INTO elements ("id", "threadId", "type", "name", "display", "forId", "props") '
                    "VALUES (?, ?, 'custom', 'Approval', 'inline', ?, ?)",
                    (f"element-{person}", thread, f"step-{person}", props),
                )
                (self.home / "elements" / user).mkdir(parents=True, exist_ok=True)
                (self.home / "elements" / user / "file").write_text(f"words of {person}")
        return users

    def ask(self, person: str, method: str, path: str, **more: Any) -> httpx.Response:
        """One request of a signed-in person, or under a token."""
        return httpx.request(method, f"{self.url}{path}", cookies={COOKIE: self.tokens.get(person, person)}, timeout=20, **more)

    def enter(self) -> str:
        """The token of one more sign-in of the owner's."""
        return httpx.get(self.served.new_link()).cookies[COOKIE]

    def action(self, person: str, session: str, name: str, payload: Mapping[str, Any]) -> httpx.Response:
        """A click on a button of a card."""
        action = {"name": name, "payload": dict(payload), "label": "", "tooltip": "", "id": secrets.token_hex(4)}
        return self.ask(person, "POST", "/chat/project/action", json={"sessionId": session, "action": action})

    async def page(self, person: str | None, thread: str | None = None, origin: str = "", token: str = "") -> "Page":
        """A page's web socket. Raises socketio.exceptions.ConnectionError when it is refused."""
        page = Page()
        cookie = token or (self.tokens[person] if person else "")
        headers = {"Origin": origin or self.url} | ({"Cookie": f"{COOKIE}={cookie}"} if cookie else {})
        auth = {"sessionId": page.session, "clientType": "webapp", "userEnv": "{}", "chatProfile": "", "threadId": thread or ""}
        await page.client.connect(self.url, headers=headers, auth=auth, socketio_path=SOCKET, transports=["websocket"], wait_timeout=20)
        await page.client.emit("connection_successful")
        return page

    def close(self) -> None:
        """End the server."""
        self.served.stop()


class Page:
    """One open page."""

    def __init__(self) -> None:
        self.session = secrets.token_hex(8)
        self.client = socketio.AsyncClient(reconnection=False)

    async def close(self) -> None:
        """Close it."""
        await self.client.disconnect()
