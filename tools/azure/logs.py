"""What a job writes, as its container runs: Azure's log stream, followed over cuts without a line shown twice."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import httpx

from tools.azure.client import Azure
from tools.azure.credential import Hidden
from tools.azure.late_logs import LateLogs
from tools.azure.log_line import LogLine, Source, of_stream, own_name, split
from tools.azure.place import CloudPlace
from tools.azure.replicas import API, replicas
from tools.azure.trouble import AzureTrouble

TAIL = 300
"""Lines that the stream still has when somebody connects: the most that it keeps."""
REMEMBERED = 4000
"""Lines by which a line that comes again is known."""
FAILURES = 5
"""Connections in a row that bring nothing, after which the stream is given up."""
SILENCE_S = 90.0
"""Seconds without a byte after which a connection is taken for dead and made anew; a training run that says nothing costs a request."""
LONGEST_PAUSE_S = 20.0
WHAT = "The log stream was not read"
log = logging.getLogger("luthier.cloud")


class LogStream:
    """The stream of a place's jobs. Each connection has a token of its own, which this stream alone sees; nothing is kept."""

    def __init__(self, azure: Azure, place: CloudPlace, *, silence_s: float = SILENCE_S) -> None:
        self._azure, self._place, self._silence_s = azure, place, silence_s
        self._pause_s = 0.01 if azure.choice.endpoint else 1.0

    def lines(self, job: str, execution: str, stop: threading.Event | None = None) -> Iterator[LogLine]:
        """Line after line until the container is gone or `stop` is set; waits for the next one. What comes again is left out.

        A cut, an expired token and a host that is busy are met with a new connection. Raises AzureTrouble after five in a row that
        brought nothing, and at once (`refused_host`) where the address is none of Azure's or redirects.
        """
        ended, seen, failures = stop or threading.Event(), OrderedDict[tuple[str, str], None](), 0
        while not ended.is_set():
            endpoint = self._endpoint(job, execution)
            if not endpoint:
                return
            trouble, news = None, False
            try:
                for line in self._connected(job, endpoint, follow=True):
                    if (line.at, line.text) in seen:
                        continue
                    seen[(line.at, line.text)] = None
                    if len(seen) > REMEMBERED:
                        seen.popitem(last=False)
                    news = True
                    yield line
                    if ended.is_set():
                        return
            except AzureTrouble as error:
                if error.trouble not in ("transient", "throttled", "signin", "denied", "not_found"):
                    raise
                trouble = error
            except httpx.HTTPError:
                trouble = None  # cut in the middle: everyday for a stream
            failures = 0 if news else failures + 1
            if trouble is not None and failures >= FAILURES:
                raise trouble
            ended.wait(min(LONGEST_PAUSE_S, self._pause_s * 2 ** min(failures, 10)))

    def tail(self, job: str, execution: str) -> tuple[LogLine, ...]:
        """The last lines that the stream has, at most 300; empty where no container writes. Raises AzureTrouble."""
        endpoint = self._endpoint(job, execution)
        if not endpoint:
            return ()
        try:
            found = tuple(self._connected(job, endpoint, follow=False))
        except AzureTrouble as trouble:
            if trouble.status != 401:
                raise
            found = tuple(self._connected(job, endpoint, follow=False))  # its token ran out just then: each connection has a new one
        except httpx.HTTPError as error:
            raise AzureTrouble("transient", WHAT, "the log host did not answer.", "Try again in a minute.",
                               heard=type(error).__name__) from error
        return tuple(dict.fromkeys(found))[-TAIL:]

    def _connected(self, job: str, endpoint: str, *, follow: bool) -> Iterator[LogLine]:
        # Not by the client of the resource manager: it would send its own token to the log host in place of the job's.
        url = httpx.URL(self._azure.check_host(endpoint, "logs")).copy_merge_params(
            {"follow": str(follow).lower(), "output": "json", "tailLines": str(TAIL)})
        token = self._token(job)
        timeout = httpx.Timeout(self._silence_s if follow else 20.0, connect=10.0)
        with (
            self._azure.http() as client,
            client.stream("GET", url, headers={"Authorization": f"Bearer {token.reveal()}"}, timeout=timeout) as answer,
        ):
            if answer.is_redirect:
                raise AzureTrouble("refused_host", WHAT, "the log host sends elsewhere, and a token is not taken along.",
                                   "Read the log from the share or in the portal.", status=answer.status_code)
            if answer.status_code != 200:
                raise _refused(answer.status_code)
            for raw in split(answer.iter_bytes()):
                yield from of_stream(raw)

    def _token(self, job: str) -> Hidden:
        """For the log host, good for an hour; it is asked for anew at each connection."""
        from azure.core.rest import HttpRequest

        place = self._place
        path = (f"/subscriptions/{place.subscription}/resourceGroups/{place.group}/providers/Microsoft.App/jobs/{own_name(job)}"
                f"/getAuthToken?api-version={API}")

        def ask() -> Hidden:
            answer = self._azure.containers().send_request(HttpRequest("POST", path))
            answer.raise_for_status()
            return Hidden(str(answer.json()["properties"]["token"]))

        try:
            return self._azure.call(WHAT, ask)
        except (KeyError, TypeError) as error:
            raise AzureTrouble("transient", WHAT, "Azure gave no token for it.", "Try again in a minute.") from error

    def _endpoint(self, job: str, execution: str) -> str:
        """Where the container that runs is heard; empty when there is none (yet, or any more)."""
        for replica in replicas(self._azure, self._place, own_name(job), own_name(execution)):
            for container in _containers(replica):
                endpoint = container.get("logStreamEndpoint")
                if isinstance(endpoint, str) and endpoint and str(container.get("runningState")) != "Terminated":
                    return endpoint
        return ""


def early_lines(azure: Azure, place: CloudPlace, job: str, execution: str) -> tuple[Source, tuple[str, ...]]:
    """What can be seen before the run's own log begins: the stream, else the late copy, else what the platform says. Never raises."""
    late = LateLogs(azure, place)
    for ask in (LogStream(azure, place).tail, late.lines, late.system):
        try:
            found = ask(job, execution)
        except Exception as error:  # lines are a help: without them the run goes on, and says how it stands
            log.info("no early lines of %s: %s", execution[:60], error)
            found = ()
        if found:
            return found[0].source, tuple(each.text for each in found)
    return "none", ()


def _containers(replica: dict[str, Any]) -> list[dict[str, Any]]:
    found = (replica.get("properties") or {}).get("containers")
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _refused(status: int) -> AzureTrouble:
    later = "Try again in a minute."
    match status:
        case 401 | 403:
            return AzureTrouble("signin", WHAT, "the log host does not take the token.", later, status=status)
        case 404:
            return AzureTrouble("not_found", WHAT, "the container is gone.", "Read the log from the share.", status=status)
        case 429:
            return AzureTrouble("throttled", WHAT, "the log host is asked too often.", later, status=status)
        case _:
            return AzureTrouble("transient", WHAT, f"the log host answered {status}.", later, status=status)
