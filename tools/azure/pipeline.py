"""How every management client sends: its timeouts, its tries, and a count. Imported only when Azure's libraries are there."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.policies import RetryPolicy, SansIOHTTPPolicy

from tools.azure.choice import AzureChoice

CONNECT_S, READ_S = 10, 60
POLL_TRIES = 5


class Tried(threading.local):
    """Whether this thread is inside `Azure.call`, which tries again by itself."""

    inside = False

    @contextmanager
    def here(self) -> Iterator[None]:
        """Inside, until the end of the block."""
        before, self.inside = self.inside, True
        try:
            yield
        finally:
            self.inside = before


class Tries(RetryPolicy):
    """No request is sent twice but a GET outside of `Azure.call`: a poll of a long operation, in a thread of the library's own.

    The library's own policy sends a POST again after 500, 503 and 504, and a start is no thing to be sent twice.
    """

    def __init__(self, tried: Tried, backoff_s: float) -> None:
        super().__init__(retry_backoff_factor=backoff_s, retry_backoff_max=30)
        self._tried = tried

    def send(self, request: Any) -> Any:
        """Send, as often as the request allows."""
        polls = request.http_request.method == "GET" and not self._tried.inside
        tries = POLL_TRIES - 1 if polls else 0
        request.context.options.update(retry_total=tries, retry_connect=tries, retry_read=tries, retry_status=tries)
        return super().send(request)


class Counting(SansIOHTTPPolicy[Any, Any]):
    """Counts the requests, and keeps the library from registering a provider by itself and waiting for it without end."""

    def __init__(self, count: Callable[[], None], heard: Callable[[str], None] = lambda date: None) -> None:
        """`heard` is told the Date of each answer."""
        super().__init__()
        self._count, self._heard = count, heard

    def on_request(self, request: Any) -> None:
        """One more was sent."""
        self._count()

    def on_response(self, request: Any, response: Any) -> None:
        """Raise what ARMAutoResourceProviderRegistrationPolicy would act on."""
        answer = response.http_response
        self._heard(str(answer.headers.get("Date") or ""))
        if answer.status_code >= 400:
            # Streamed answers are not read yet, and an error that is not read has no code.
            read(answer)
        if answer.status_code == 409 and "MissingSubscriptionRegistration" in answer.text():
            raise HttpResponseError(response=answer)


def read(answer: Any) -> None:
    """Take in the body of an answer, where it is one of those that wait for it."""
    if hasattr(answer, "read"):
        answer.read()


def options(choice: AzureChoice, tried: Tried, count: Callable[[], None], poll_s: float, backoff_s: float,
            heard: Callable[[str], None] = lambda date: None) -> dict[str, Any]:
    """The keyword arguments that every management client gets."""
    verify = {"connection_verify": str(choice.ca)} if choice.ca else {}
    return {
        "base_url": choice.endpoint or "https://management.azure.com", "polling_interval": poll_s,
        "connection_timeout": CONNECT_S, "read_timeout": READ_S, "permit_redirects": False,
        "retry_policy": Tries(tried, backoff_s), "per_retry_policies": [Counting(count, heard)], **verify,
    }
