"""What goes wrong with the stand-in for Azure, by the script of a test."""

import re
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Fault(StrEnum):
    """Each is one way in which a request ends; unless the text says otherwise the request has been carried out."""

    REFUSED_503 = "503, not carried out"
    ACCEPTED_503 = "503 after it was carried out"
    ACCEPTED_503_RETRY_AFTER = "503 with Retry-After after it was carried out"
    TORN_BODY = "connection cut in the middle of the body"
    TRUNCATED_JSON = "half a JSON text"
    EMPTY_200 = "200 without a body"
    HANG = "no answer for `seconds` (5), then the connection is cut"
    DROP = "connection cut before the answer"
    ACCEPTED_202_THEN_200 = "202 without a body and a Location that ends in 200"
    ACCEPTED_202_THEN_204 = "202 without a body and a Location that ends in 204"
    THROTTLED = "429 with Retry-After `seconds` (1), not carried out"
    UNREGISTERED = "409 MissingSubscriptionRegistration, not carried out"
    DENIED = "403 AuthorizationFailed, not carried out"
    POLICY = "403 RequestDisallowedByPolicy, not carried out"
    UNAUTHORIZED = "401 ExpiredAuthenticationToken, not carried out"
    ANSWER = "`status`, `code`, `message` as given, not carried out"
    OPERATION_FAILED = "the operation ends Failed, with `code` and `message`"
    OPERATION_CANCELED = "the operation ends Canceled, without an error"
    RESOURCE_FAILED = "the operation ends Succeeded, the resource says Failed"
    OPERATION_STUCK = "the operation never ends"
    POLL_404 = "each poll of the operation answers 404"
    LATE = "the execution can be seen only after `seconds` (1)"
    TWICE = "two executions for one start"
    GONE = "the execution is not there when somebody looks"
    CALL = "`call(world)` runs, then the request is carried out"


AFTER = frozenset({
    Fault.ACCEPTED_503, Fault.ACCEPTED_503_RETRY_AFTER, Fault.TORN_BODY, Fault.TRUNCATED_JSON, Fault.EMPTY_200, Fault.HANG, Fault.DROP,
    Fault.ACCEPTED_202_THEN_200, Fault.ACCEPTED_202_THEN_204,
})
"""Those that change only the answer."""


@dataclass(slots=True)
class Scripted:
    """A fault that waits for its request."""

    method: str
    pattern: re.Pattern[str]
    fault: Fault
    left: int
    skip: int = 0
    options: dict[str, Any] = field(default_factory=dict)


class Faults:
    """The script: which request meets which fault. Hosts other than ARM ask it too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._script: list[Scripted] = []
        self.happened: list[Fault] = []
        """Each fault that met a request."""

    def at(self, method: str, pattern: str, fault: Fault, times: int = 1, *, skip: int = 0, **options: Any) -> None:
        """The next `times` requests of this method (`*`: any) whose path matches anywhere, ignoring case, after `skip` of them."""
        with self._lock:
            self._script.append(Scripted(method, re.compile(pattern, re.IGNORECASE), fault, times, skip, options))

    def take(self, method: str, path: str) -> Scripted | None:
        """The fault that this request meets, used up once."""
        with self._lock:
            for each in self._script:
                if each.left > 0 and each.method in ("*", method) and each.pattern.search(path):
                    if each.skip:
                        each.skip -= 1
                        continue
                    each.left -= 1
                    self.happened.append(each.fault)
                    return each
        return None

    def clear(self) -> None:
        """From now on all goes well."""
        with self._lock:
            self._script.clear()
