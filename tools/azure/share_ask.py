"""How the share is asked: a few tries, and every error as a sentence."""

import time
from collections.abc import Callable
from typing import TypeVar

from policies import fault
from tools.azure.remedy import explained
from tools.azure.trouble import AzureTrouble

T = TypeVar("T")
TRIES = 3
FULL = ("ShareSizeLimitReached", "ShareQuotaExceeded", "InsufficientStorage", "DiskFull")

REFUSED_KEY = "AuthenticationFailed"
"""The code by which a share refuses a key, or a request of another time."""


class There(Exception):
    """It is there already."""


class Gone(Exception):
    """It is not there."""


def ask(what: str, work: Callable[[], T], pause_s: float = 0.5, *, gone: bool = False) -> T:
    """What `work` gives, tried again where the service was busy: for what may be done twice.

    Raises AzureTrouble; There where it exists already; with `gone` Gone in place of the trouble that it does not exist.
    """
    from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError

    for tries in range(1, TRIES + 1):
        fault.point("cloud.files.ask")
        try:
            return work()
        except ResourceExistsError as there:
            if _code(there) in ("ResourceAlreadyExists", "ShareAlreadyExists"):
                raise There from there
            raise _told(what, there) from there
        except ResourceNotFoundError as none:
            if gone:
                raise Gone from none
            raise _told(what, none) from none
        except (AzureError, ValueError, OSError) as error:
            trouble = _told(what, error)
            if trouble.trouble not in ("transient", "throttled") or tries == TRIES:
                raise trouble from error
            time.sleep(pause_s * tries)
    raise AssertionError("unreachable")


def _told(what: str, error: Exception) -> AzureTrouble:
    if _code(error) in FULL:
        return AzureTrouble("quota", what, "The share is full.", "Delete old folders below runs/ on it in the portal (storage account, "
                            "file shares), or raise its quota there; then ask again: it goes on from where it stands.", code=_code(error))
    if _code(error) == REFUSED_KEY:
        return AzureTrouble("unknown", what, "The share does not accept the storage account's key.", "If the key is being changed, ask "
                            "again in a minute; else set this machine's clock right: Azure refuses what is a quarter of an hour off.",
                            code=REFUSED_KEY)
    trouble = explained(what, error)
    if trouble is None:
        raise error
    return trouble


def _code(error: Exception) -> str:
    return str(getattr(getattr(error, "error_code", ""), "value", getattr(error, "error_code", "")) or "")
