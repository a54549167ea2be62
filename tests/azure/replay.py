"""Recorded traffic of the real Azure, served to the product's own client from inside its transport."""

import io
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
import yaml
from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import RequestsTransport
from requests.adapters import BaseAdapter

from tools.azure.account import Account
from tools.azure.choice import AzureChoice
from tools.azure.client import Azure
from tools.azure.names import tags

SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
WORKSPACE = "workspace-of-the-recordings"
_DROPPED = frozenset({"content-encoding", "transfer-encoding", "content-length"})


class Tape(BaseAdapter):
    """One recording. Matches method and path, ignores the api-version, and only moves forward."""

    def __init__(self, path: Path, *, tagged: bool = False) -> None:
        """With `tagged` every resource that is read bears our tags, as none of the recorded ones does."""
        super().__init__()
        self._rows: list[dict[str, Any]] = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)["interactions"]
        self._at, self._tagged = 0, tagged
        self.played: list[tuple[str, str, int]] = []
        """Method, path and status of each request so far."""

    def send(self, request: requests.PreparedRequest, stream: bool = False, timeout: Any = None, verify: Any = True, cert: Any = None,
             proxies: Mapping[str, str] | None = None) -> requests.Response:
        """The next recorded answer to such a request. AssertionError when there is none any more."""
        path = urlsplit(str(request.url)).path
        for number in range(self._at, len(self._rows)):
            asked = self._rows[number]["request"]
            if asked["method"] == request.method and urlsplit(asked["uri"]).path.lower() == path.lower():
                self._at = number + 1
                return self._answer(request, path, self._rows[number]["response"])
        raise AssertionError(f"nothing recorded from {self._at} on answers {request.method} {path}; played: {self.played[-5:]}")

    def _answer(self, request: requests.PreparedRequest, path: str, told: dict[str, Any]) -> requests.Response:
        headers = {key: values[0] for key, values in told["headers"].items() if key.lower() not in _DROPPED}
        text = self._marked(told["body"]["string"] or "")
        self.played.append((str(request.method), path, told["status"]["code"]))
        answer = requests.Response()
        answer.status_code, answer.reason, answer.url, answer.request = told["status"]["code"], "", str(request.url), request
        answer.headers.update(headers)
        answer.raw = urllib3.HTTPResponse(io.BytesIO(text.encode()), headers, answer.status_code, preload_content=False,
                                          request_method=request.method)
        return answer

    def _marked(self, text: str) -> str:
        if not self._tagged or not text.startswith("{"):
            return text
        body = json.loads(text)
        for each in body.get("value") if isinstance(body.get("value"), list) else [body]:
            if "type" in each and "location" in each:
                each["tags"] = tags(WORKSPACE)
        return json.dumps(body)

    def close(self) -> None:
        """Nothing is open."""


class Remembering(Tape):
    """For work as a whole, which looks more often, and in another order, than the program that was recorded.

    What changes something moves forward in the recording. A look gets the next recorded answer to it that no change of the same thing
    precedes; where there is none, what was last told of the thing; and 404 where the recording makes it only later.
    """

    def __init__(self, path: Path, given: Mapping[str, dict[str, Any]]) -> None:
        """`given`: what is told of things that the recording never looks at, by path in lower case."""
        super().__init__(path, tagged=True)
        self._told, self._looked = dict(given), set[int]()

    def send(self, request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:
        """As above. AssertionError for what the recording neither has nor makes."""
        if request.method != "GET":
            return super().send(request, *args, **more)
        path = urlsplit(str(request.url)).path
        return self._answer(request, path, self._look(path.lower()))

    def _answer(self, request: requests.PreparedRequest, path: str, told: dict[str, Any]) -> requests.Response:
        text = told["body"]["string"] or ""
        if text.startswith("{") and "id" in (body := json.loads(text)):
            self._told[str(body["id"]).lower()] = body
        return super()._answer(request, path, told)

    def _look(self, path: str) -> dict[str, Any]:
        for number in range(self._at, len(self._rows)):
            asked = self._rows[number]["request"]
            if urlsplit(asked["uri"]).path.lower() != path or number in self._looked:
                continue
            if asked["method"] == "GET":
                self._looked.add(number)
                return self._rows[number]["response"]
            if path not in self._told:
                return _said(404, {"error": {"code": "ResourceNotFound", "message": "It is not there."}})
            break
        assert path in self._told, f"nothing recorded tells of {path}; played: {self.played[-5:]}"
        return _said(200, self._told[path])


def _said(status: int, body: dict[str, Any]) -> dict[str, Any]:
    return {"status": {"code": status}, "headers": {"content-type": ["application/json"]}, "body": {"string": json.dumps(body)}}


class _Signed:
    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        return AccessToken("recorded", int(time.time()) + 3600)


class Replayed(Azure):
    """The product's client, whose every request meets a tape."""

    def __init__(self, tape: Tape) -> None:
        super().__init__(AzureChoice(subscription=SUBSCRIPTION, region="northcentralusstage"), WORKSPACE)
        self.tape = tape
        self.named: Any = None
        self.poll_s = 0.001
        self._account = Account("user1@example.com", "t", SUBSCRIPTION, "Recorded")

    def account(self, *, fresh: bool = False) -> Account:
        """As recorded."""
        assert self._account is not None
        return self._account

    def names(self, subscription: str, group: str) -> Any:
        """Those of the recording, once a test has said them."""
        return self.named or super().names(subscription, group)

    def credential(self) -> Any:
        """Nobody's."""
        return _Signed()

    def _make(self, module: str, name: str, subscription: str) -> Any:
        from importlib import import_module

        from tools.azure.pipeline import options

        if name not in self._made:
            session = requests.Session()
            session.mount("https://", self.tape)
            given = options(self.choice, self._tried(), self._count, self.poll_s, self._backoff_s, self._hear)
            transport = RequestsTransport(session=session, session_owner=False)
            self._made[name] = getattr(import_module(module), name)(
                credential=self.credential(), subscription_id=subscription, **{**given, "transport": transport})
        return self._made[name]
