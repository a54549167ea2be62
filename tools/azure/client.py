"""The one way to Azure: who is signed in, the management clients, and every error as a sentence with a remedy."""

import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from random import random
from typing import Any, TypeVar

import httpx

from tools.azure.account import Account, account_of
from tools.azure.choice import AzureChoice
from tools.azure.credential import ARM_SCOPE, Hidden, bearing, claims, credential, not_installed
from tools.azure.hosts import HostKind, check_host
from tools.azure.names import Names, names
from tools.azure.remedy import bad_state, certain, explained, retry_after_s, state_of
from tools.azure.trouble import AzureTrouble

T = TypeVar("T")
TRIES = 5
LONGEST_PAUSE_S = 120.0
STUCK = "Stuck"
"""The code of an operation that was not over in the time that it was given."""
LOOK_S = 60.0
"""How long who is signed in is believed: a person may sign in as another meanwhile."""
SUBSCRIPTIONS = "/subscriptions?api-version=2022-12-01"


class Azure:
    """Azure as one home sees it. Thread-safe; making one imports nothing and asks nobody."""

    def __init__(self, choice: AzureChoice, workspace: str) -> None:
        """`workspace` is the id of the book, by which everything that we make is named and tagged."""
        self.choice, self.workspace = choice, workspace
        self.calls = 0
        """Requests sent to the resource manager so far."""
        self._told = (datetime.now(UTC), time.monotonic())
        """Azure's time, and when it was that by the clock that nobody sets."""
        # A stand-in on this machine is asked without the pauses that the real service needs.
        self.poll_s, self._backoff_s = (0.02, 0.01) if choice.endpoint else (5.0, 0.8)
        self._lock, self._counting, self._closed = threading.RLock(), threading.Lock(), threading.Event()
        self._made: dict[str, Any] = {}
        self._kept: dict[str, tuple[float, Any]] = {}
        self._account: Account | None = None
        self._bearer: tuple[str, ...] = ()
        self._looked = 0.0

    def account(self, *, fresh: bool = False) -> Account:
        """Who is signed in; `fresh`: by a token of now. Raises AzureTrouble `signin`, `not_installed` or `denied`, with what to do."""
        with self._lock:
            if self._account is not None and not fresh and time.monotonic() - self._looked < LOOK_S:
                return self._account
            try:
                said = claims(self.token().reveal())
            except AzureTrouble:
                if self._account is None or fresh:
                    raise
                return self._account  # what goes on with the tokens of before is looked after as long as they hold
            if self._account is None or bearing(said) != self._bearer:
                # What was made for somebody else holds that person's tokens.
                self._made = {key: made for key, made in self._made.items() if key in ("credential", "tried")}
                self._kept, self._account = {}, None
                found = self.call("Your subscriptions were not listed", self._subscriptions)
                self._account, self._bearer = account_of(said, found, self.choice.subscription), bearing(said)
            self._looked = time.monotonic()
            return self._account

    def check_account(self, user: str, tenant: str, what: str) -> None:
        """Raise AzureTrouble `denied` when now somebody else is signed in than an approval named."""
        now = self.account(fresh=True)
        if (now.user, now.tenant) != (user, tenant):
            raise AzureTrouble("denied", what, f"it was approved for {user} (tenant {tenant}), and {now.user} (tenant {now.tenant}) is "
                               "signed in.", f"Sign in as {user} again, or ask anew: the next card names who is signed in.")

    def check_subscription(self, subscription: str, what: str) -> None:
        """Raise AzureTrouble `denied` when another subscription is in use than the one of a place: nothing of it would be found there."""
        now = (self._account or self.account()).subscription
        if now.lower() != subscription.lower():
            raise AzureTrouble("denied", what, f"it was prepared in the subscription {subscription}, and {now} is in use.",
                               f"Set LUTHIER_AZURE_SUBSCRIPTION to {subscription} and start Luthier again.")

    def containers(self) -> Any:
        """`ContainerAppsAPIClient`."""
        return self._client("azure.mgmt.appcontainers", "ContainerAppsAPIClient")

    def resources(self) -> Any:
        """`ResourceManagementClient`."""
        return self._client("azure.mgmt.resource.resources", "ResourceManagementClient")

    def storage(self) -> Any:
        """`StorageManagementClient`."""
        return self._client("azure.mgmt.storage", "StorageManagementClient")

    def log_workspaces(self) -> Any:
        """`LogAnalyticsManagementClient`."""
        return self._client("azure.mgmt.loganalytics", "LogAnalyticsManagementClient")

    def costs(self) -> Any:
        """`CostManagementClient`, which knows no subscription of its own."""
        return self._client("azure.mgmt.costmanagement", "CostManagementClient", subscription="")

    def quotas(self) -> Any:
        """`QuotaMgmtClient`."""
        return self._client("azure.mgmt.quota", "QuotaMgmtClient")

    def authorization(self) -> Any:
        """`AuthorizationManagementClient`."""
        return self._client("azure.mgmt.authorization", "AuthorizationManagementClient")

    def call(self, what: str, work: Callable[[], T]) -> T:
        """What `work` gives, tried up to 5 times where Azure was busy or not understood: only for what may be done twice.

        `what` begins the sentence of an error: "The environment was not read". Raises AzureTrouble.
        """
        for tries in range(1, TRIES + 1):
            try:
                with self._tried().here():
                    return work()
            except Exception as error:
                trouble, pause = _told(what, error), retry_after_s(error)
                again = trouble.trouble in ("throttled", "transient") and tries < TRIES and (pause or 0) <= LONGEST_PAUSE_S
                if not again or self._closed.is_set():
                    raise trouble from error
                self._pause(pause if pause is not None else self._backoff_s * 2 ** (tries - 1))
        raise AssertionError("unreachable")

    def wait(self, what: str, begin: Callable[[], Any], timeout_s: float = 1200) -> Any:
        """What a long operation ends with; `begin` may be sent again. Raises AzureTrouble, `unknown` when it is not over in time.

        An operation may succeed and leave a failed resource: what came back is looked at, too.
        """
        poller = self.call(what, begin)
        until = time.monotonic() + timeout_s
        while not poller.done() and time.monotonic() < until and not self._closed.is_set():
            # The poller's own wait raises what the operation raised, so that it is read below in one place.
            try:
                poller.wait(min(1.0, max(0.0, until - time.monotonic())))
            except Exception:
                break
        if not poller.done():
            raise AzureTrouble("unknown", what, f"Azure has not finished it after {timeout_s / 60:.0f} minutes.",
                               "It may still end well: ask again later, and Luthier goes on from where it stands.", code=STUCK)
        try:
            found = poller.result(0)
        except Exception as error:
            raise _told(what, error, polled=True) from error
        if state_of(found) in ("failed", "canceled", "upgradefailed", "scheduledfordelete"):
            raise bad_state(what, found)
        return found

    def kept(self, name: str, for_s: float, work: Callable[[], T]) -> T:
        """What `work` gave at most `for_s` seconds ago under this name, else what it gives now: for what moves slowly."""
        at, found = self._kept.get(name, (-1e9, None))
        if time.monotonic() - at > for_s:
            found = work()
            self._kept[name] = (time.monotonic(), found)
        return found  # type: ignore[return-value]

    def send_once(self, what: str, work: Callable[[], T]) -> T:
        """What `work` gives, sent once and never again: for a start.

        Raises AzureTrouble: of kind `unknown` unless Azure's answer is certain (a 4xx other than 408 and 429).
        """
        try:
            with self._tried().here():
                return work()
        except Exception as error:
            trouble = _told(what, error)
            if certain(error) or trouble.trouble in ("signin", "not_installed"):
                raise trouble from error
            raise AzureTrouble("unknown", what, "it was sent, and whether it was done is not known.", "Luthier looks what became of it.",
                               heard=trouble.heard, status=trouble.status, code=trouble.code, request_id=trouble.request_id) from error

    def token(self, scope: str = ARM_SCOPE) -> Hidden:
        """A fresh token for a scope. Raises AzureTrouble `signin`."""
        return Hidden(self.call("Nobody is signed in to Azure", lambda: self.credential().get_token(scope).token))

    def credential(self) -> Any:
        """The chosen credential, for clients that are made elsewhere."""
        with self._lock:
            return self._made.get("credential") or self._made.setdefault("credential", credential(self.choice))

    def http(self) -> httpx.Client:
        """A plain client for what is outside of the resource manager: no redirects, no token of its own. The caller closes it."""
        verify = ssl.create_default_context(cafile=str(self.choice.ca)) if self.choice.ca else True
        return httpx.Client(follow_redirects=False, verify=verify, timeout=httpx.Timeout(60, connect=10))

    def check_host(self, url: str, kind: HostKind) -> str:
        """The url, when its host is one of its kind. Raises AzureTrouble `refused_host`."""
        return check_host(self.choice, url, kind)

    def names(self, subscription: str, group: str) -> Names:
        """The names of this workspace in a group."""
        return names(subscription, group, self.workspace)

    def sleep(self, seconds: float) -> None:
        """Wait, until `close` at the latest."""
        self._closed.wait(seconds)

    def now(self) -> datetime:
        """The time by Azure's clock, as its last answer told it; before there was one, as this machine had it at the beginning."""
        at, then = self._told
        return at + timedelta(seconds=time.monotonic() - then)

    def leave(self) -> None:
        """End pauses and tries, so that threads which are at work come to their end."""
        self._closed.set()

    def close(self) -> None:
        """End pauses and close the clients."""
        self.leave()
        with self._lock:
            made, self._made = list(self._made.values()), {}
        for each in made:
            if hasattr(each, "close"):
                each.close()

    def _client(self, module: str, name: str, subscription: str | None = None) -> Any:
        found = self._made.get(name)
        if found is not None:
            return found
        within = self.account().subscription if subscription is None else subscription
        return self._make(module, name, within)

    def _make(self, module: str, name: str, subscription: str) -> Any:
        from importlib import import_module

        with self._lock:
            if name not in self._made:
                try:
                    from tools.azure.pipeline import options

                    kind = getattr(import_module(module), name)
                except ImportError as missing:
                    raise not_installed() from missing
                given = options(self.choice, self._tried(), self._count, self.poll_s, self._backoff_s, self._hear)
                within = {"subscription_id": subscription} if subscription else {}
                self._made[name] = kind(credential=self.credential(), **within, **given)
            return self._made[name]

    def _tried(self) -> Any:
        try:
            from tools.azure.pipeline import Tried
        except ImportError as missing:
            raise not_installed() from missing
        with self._lock:
            return self._made.setdefault("tried", Tried())

    def _subscriptions(self) -> list[dict[str, Any]]:
        from azure.core.rest import HttpRequest

        # The client of subscriptions is a package of its own, for this one request; this one needs no subscription either.
        client = self.costs()
        found: list[dict[str, Any]] = []
        url = SUBSCRIPTIONS
        while url:
            answer = client.send_request(HttpRequest("GET", url))
            answer.raise_for_status()
            page = answer.json()
            found += [each for each in page.get("value", []) if isinstance(each.get("subscriptionId"), str)]
            url = self.check_host(page["nextLink"], "arm") if page.get("nextLink") else ""
        return found

    def _count(self) -> None:
        with self._counting:
            self.calls += 1

    def _hear(self, date: str) -> None:
        with suppress(ValueError, TypeError):
            said, here = parsedate_to_datetime(date), datetime.now(UTC)
            # A Date has whole seconds, and the answer was under way: so small a difference is none.
            self._told = (said if abs((said - here).total_seconds()) > 3 else here, time.monotonic())

    def _pause(self, seconds: float) -> None:
        """Wait, a little unevenly, so that many do not come again together; never less than Azure asked for."""
        self._closed.wait(seconds * (1 + random() / 4))


def _told(what: str, error: Exception, *, polled: bool = False) -> AzureTrouble:
    """What an error of the clients means. What is told already, and what is a bug of ours, rises as it is."""
    trouble = None if isinstance(error, AzureTrouble) else explained(what, error, polled=polled)
    if trouble is None:
        raise error
    return trouble
