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

from tools.azure.choice import AzureChoice
from tools.azure.client import Account, Azure
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


class _Signed:
    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        return AccessToken("recorded", int(time.time()) + 3600)


class Replayed(Azure):
    """The product's client, whose every request meets a tape."""

    def __init__(self, tape: Tape) -> None:
        super().__init__(AzureChoice(subscription=SUBSCRIPTION, region="northcentralusstage"), WORKSPACE)
        self.tape = tape
        self.poll_s = 0.001
        self._account = Account("user1@example.com", "t", SUBSCRIPTION, "Recorded")

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
