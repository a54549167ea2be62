"""What an error of Azure means, and what a person can do about it: one table by status and code."""

import json
import re
from typing import Any

import httpx

from policies.redact import redact
from tools.azure.credential import not_installed
from tools.azure.trouble import AzureTrouble, TroubleKind

_ACTION = re.compile(r"perform action '([^']{1,200})'(?:.*?over scope '([^']{1,400})')?", re.S)
_ATTEMPTS = re.compile(r"Attempted credentials:.*?^\s*(AzureCliCredential: [^\n]*)", re.S | re.M)
_TAIL = re.compile(r"\n(?:RequestId|Time|ErrorCode|Content):")
"""Where what a person can read of a storage error ends."""
_EXPIRED = ("AADSTS700082", "AADSTS70043", "AADSTS50173", "AADSTS50078", "AADSTS700084", "expired", "ExpiredAuthenticationToken")
_BUSY_CODES = ("AnotherOperationInProgress", "OperationInProgress", "StorageAccountOperationInProgress", "ManagedEnvironmentNotReady")
_TAKEN = ("StorageAccountAlreadyTaken", "AlreadyExists", "StorageAccountInAnotherResourceGroup")
_ASLEEP = ("ReadOnlyDisabledSubscription", "DisabledSubscription", "SubscriptionDisabled", "SubscriptionNotActive")
_HIDDEN = ("SubscriptionNotFound", "InvalidSubscriptionId", "InvalidAuthenticationTokenTenant")
NOWHERE = ("LocationNotAvailableForResourceType", "InvalidLocation", "LocationNotAvailable", "WorkloadProfileTypeNotSupported",
           "ManagedEnvironmentInvalidWorkloadProfileType", "InvalidWorkloadProfileType")
"""Codes by which Azure says that a region does not offer something."""

QUOTA_PAGE = "https://portal.azure.com/#view/Microsoft_Azure_Capacity/QuotaMenuBlade/~/myQuotas"
"""Where quota is asked for."""

Advice = tuple[TroubleKind, str, str]
"""Kind, because, try next."""

_BY_STATUS: dict[int, Advice] = {
    404: ("not_found", "Azure knows no such thing.", "Look what is there with a dry run of prepare_cloud."),
    429: ("throttled", "Azure is asked too often just now.", "Try again in a few minutes."),
}
_SIGN_IN = "Sign in with `az login` on this machine, or set LUTHIER_AZURE_SIGN_IN to the credential that it has (cli, workload, managed)."
_ROLES: tuple[tuple[str, str, str], ...] = (
    ("/locations/", "Reader", "the subscription"),
    ("/register/action", "Contributor", "the subscription; they can also register the provider themselves, once for all"),
    ("Microsoft.Resources/subscriptions/resourceGroups/write", "Contributor",
     "the subscription; or name a group that is there with LUTHIER_AZURE_GROUP"),
    ("Microsoft.App/jobs/start", "Container Apps Jobs Operator", "the resource group"),
    ("Microsoft.App/jobs", "Container Apps Jobs Contributor", "the resource group"),
    ("Microsoft.App/containerApps", "Container Apps Contributor", "the resource group"),
    ("Microsoft.App/managedEnvironments", "Container Apps ManagedEnvironments Contributor", "the resource group"),
    ("Microsoft.CostManagement", "Cost Management Reader", "the resource group"),
    ("Microsoft.OperationalInsights/workspaces/query", "Log Analytics Reader", "the resource group"),
    ("Microsoft.Authorization/roleAssignments", "User Access Administrator", "the resource group"),
)


def role_for(action: str) -> tuple[str, str]:
    """The least role that brings an action, and on what it is granted."""
    for part, role, scope in _ROLES:
        if part.lower() in action.lower():
            return role, scope
    return "Contributor", "the resource group"


def explained(what: str, error: BaseException, *, polled: bool = False) -> AzureTrouble | None:
    """An error of the clients as a sentence; None when it is a bug of ours. `polled`: a long operation's, whose status is the poll's."""
    if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("azure"):
        return not_installed()
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        kind, because, then = _by_status(status)
        return AzureTrouble(kind, what, because, then, status=status)
    if isinstance(error, httpx.HTTPError | httpx.InvalidURL):
        return _unreachable(what, error)
    try:
        from azure.core.exceptions import (
            AzureError,
            ClientAuthenticationError,
            DecodeError,
            DeserializationError,
            HttpResponseError,
            ServiceRequestError,
            ServiceResponseError,
        )
    except ImportError:
        return None
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError | DeserializationError | DecodeError):
        return AzureTrouble("transient", what, "Azure's answer broke off or could not be read.", "Try again in a minute.",
                            status=getattr(error, "status_code", 0) or 0)
    if isinstance(error, ServiceRequestError | ServiceResponseError):
        return _unreachable(what, error)
    if isinstance(error, ClientAuthenticationError):
        return _signin(what, error)
    if isinstance(error, HttpResponseError):
        return _answered(what, error, polled)
    return AzureTrouble("unknown", what, "Azure's client library gave up.", "Try again.", heard=_heard(error)) if isinstance(
        error, AzureError) else None


def certain(error: BaseException) -> bool:
    """Whether Azure's answer says for sure that nothing was done: a 4xx other than 408 and 429, whole."""
    status = getattr(error, "status_code", None) or 0
    return 400 <= status < 500 and status not in (408, 429)


def retry_after_s(error: BaseException) -> float | None:
    """How long Azure asks to wait, in seconds; None when it does not say."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    for name, scale in (("retry-after-ms", 1000), ("x-ms-retry-after-ms", 1000), ("Retry-After", 1)):
        try:
            return max(0.0, float(headers[name]) / scale)
        except (KeyError, ValueError):
            continue
    return None


def state_of(found: Any) -> str:
    """The provisioning state of a resource, in lower case; empty when it has none."""
    for each in (getattr(found, "properties", None), found):
        state = getattr(each, "provisioning_state", None)
        if state is None and each is not None and hasattr(each, "get"):
            state = each.get("provisioningState")
        if state is not None:
            return str(getattr(state, "value", state)).lower()
    return ""


def bad_state(what: str, found: Any) -> AzureTrouble:
    """The operation succeeded, and the resource failed."""
    said = getattr(getattr(found, "properties", None), "deployment_errors", None)
    return AzureTrouble("conflict", what, f"Azure made it in the state {state_of(found)}.",
                        "Ask again, which makes it anew; if it stays, look at the resource in the Azure portal.",
                        heard=redact(str(said))[:400] if said else "", code=state_of(found))


def _answered(what: str, error: Any, polled: bool) -> AzureTrouble:
    """By code where the code says more than the status, else by status; of a poll the status says nothing."""
    code, said = _code_of(error), _message_of(error)
    status = 0 if polled else error.status_code or 0
    if status == 401 and code not in _HIDDEN:
        return _signin(what, error)
    kind, because, then = _by_code(code, said, status) or (_polled(code) if polled else _by_status(status))
    headers: dict[str, str] = dict(getattr(error.response, "headers", None) or {})
    request = headers.get("x-ms-request-id", "")
    return AzureTrouble(kind, what, because, then, heard=_heard(error), status=error.status_code or 0, code=code, request_id=request)


def _by_code(code: str, said: str, status: int) -> Advice | None:
    if code in ("AuthorizationFailed", "LinkedAuthorizationFailed", "AuthorizationPermissionMismatch"):
        return _denied(said)
    if code.startswith("RequestDisallowedByPolicy"):
        shared = "allowsharedkeyaccess" in said.lower() or re.search(r"shared.?key", said, re.I) is not None
        rule = "forbids storage accounts with shared keys, without which a container cannot mount a share" if shared else "forbids it"
        return "policy", f"A policy of your organisation {rule}.", (
            "Ask whoever keeps the policies for an exemption of one resource group, and name that group with LUTHIER_AZURE_GROUP.")
    if code in ("KeyBasedAuthenticationNotPermitted", "SharedKeyAccessDisabled"):
        return "policy", "The storage account allows no shared keys, without which a container cannot mount a share.", (
            "Allow shared keys on it, or let prepare_cloud work in another resource group.")
    if code == "MissingSubscriptionRegistration" or code == "SubscriptionNotRegistered":
        return "not_prepared", "A resource provider is not registered in the subscription.", (
            "Run prepare_cloud, which registers it, or have someone run `az provider register --namespace Microsoft.App --wait`.")
    if code in _HIDDEN:
        # Never "not found": what is there must not be taken for gone.
        return "signin", "Azure does not show the subscription to this sign-in.", (
            "Sign in to its tenant (`az login --tenant …`), or correct LUTHIER_AZURE_SUBSCRIPTION and start Luthier again.")
    if code in _ASLEEP:
        return "denied", "The subscription is disabled, most often for a bill or a spending limit.", (
            "Have its owner enable it again in the portal, or set LUTHIER_AZURE_SUBSCRIPTION to another one.")
    if code == "ScopeLocked":
        return "denied", "A lock keeps this resource group from being changed.", "Have its owner take the lock away, or use another group."
    if code in _BUSY_CODES:
        return "transient", "Another operation on it is not over yet.", "Try again in a few minutes."
    if code in _TAKEN:
        return "conflict", "The name is taken by something that is not ours.", (
            "Use another resource group (LUTHIER_AZURE_GROUP), for which Luthier makes other names.")
    if code in NOWHERE:
        return "conflict", "The region does not offer this.", "Choose another region: prepare_cloud says which have GPUs."
    if "quota" in code.lower() or code.startswith("MaxNumberOf") or code.endswith("LimitExceeded"):
        return "quota", "The subscription's quota does not allow it.", f"Ask for more at {QUOTA_PAGE}, or use another region."
    if code in ("TooManyRequests", "OperationNotAllowedThrottled", "SubscriptionRequestsThrottled") and status != 429:
        return _BY_STATUS[429]
    if code in ("InternalServerError", "ServerTimeout", "ServiceUnavailable", "GatewayTimeout", "Timeout"):
        return "transient", "Azure had a fault of its own.", "Try again in a few minutes."
    return None


def _by_status(status: int) -> Advice:
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status == 401:
        return "signin", "Azure does not accept the sign-in.", _SIGN_IN  # of a plain client: the others' go to _signin
    if status == 403:
        return _denied("")
    if status == 408 or status >= 500:
        return "transient", f"Azure had a fault of its own (status {status}).", "Try again in a few minutes."
    if status < 400:
        return "transient", "Azure's answer was not understood.", "Try again in a minute."
    return "conflict", f"Azure refused the request (status {status}).", "Read what Azure says; nothing was changed by this request."


def _polled(code: str) -> Advice:
    if not code or code in ("ResourceNotFound", "NotFound", "OperationNotFound"):
        return "unknown", "Azure lost sight of the operation.", "Ask again: Luthier looks what became of it and goes on from there."
    return "conflict", f"Azure could not finish it ({code}).", "Read what Azure says, and ask again when it is put right."


def _denied(said: str) -> Advice:
    found = _ACTION.search(said)
    if found is None:
        return "denied", "The account is not allowed to do it.", "Ask the owner of the resource group for the role Contributor on it."
    role, scope = role_for(found.group(1))
    over = f" on {found.group(2)}" if found.group(2) else ""
    return "denied", f"The account lacks the permission {found.group(1)}{over}.", (
        f"Ask an Owner or User Access Administrator there for the role {role} on {scope}.")


def _signin(what: str, error: Any) -> AzureTrouble:
    said, heard = str(error), _heard(error)
    if any(each in said for each in _EXPIRED):
        because, then = "the sign-in has expired.", "Sign in anew with `az login` (or renew the identity's credential), and try again."
    elif getattr(error, "response", None) is None:
        because, then = "no sign-in was found that Azure accepts.", _SIGN_IN
    else:
        because, then = "Azure does not accept the sign-in.", _SIGN_IN
    if tried := _ATTEMPTS.search(said):
        heard = redact(tried.group(1)).strip()[:200]  # of the dozen ways that were tried, the one that the remedy names
    status = getattr(error, "status_code", None) or 0
    return AzureTrouble("signin", what, because, then, heard=heard, status=status, code=_code_of(error))


def _unreachable(what: str, error: BaseException) -> AzureTrouble:
    return AzureTrouble("transient", what, "Azure could not be reached, or did not answer.", "Check the network and proxy, and try again.",
                        heard=type(error).__name__)


def _code_of(error: Any) -> str:
    found = getattr(error, "error", None) or getattr(error, "model", None)
    of_a_share = getattr(error, "error_code", None)  # its answers are XML, of which the library reads the code alone
    return str(getattr(found, "code", None) or getattr(getattr(found, "error", None), "code", None)
               or getattr(of_a_share, "value", of_a_share) or "")


def _message_of(error: Any) -> str:
    found = getattr(error, "error", None)
    return str(getattr(found, "message", None) or error)


def _heard(error: BaseException) -> str:
    """The first lines of what Azure said, redacted; never an address with its query, which may be signed."""
    found: Any = getattr(error, "error", None)
    text = f"{found.code}: {found.message}" if getattr(found, "message", None) else str(error)
    text = _TAIL.split(text)[0]
    said = redact(re.sub(r"(https?://[^\s?'\"]+)\?\S+", r"\1", text)).strip()
    return " ".join(said.split())[:400]
