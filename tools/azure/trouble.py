"""What goes wrong with Azure, in kinds that decide what is done about it."""

from typing import Literal

from policies.tool import ToolFailed

TroubleKind = Literal[
    "not_installed", "signin", "denied", "not_found", "conflict", "throttled", "quota", "transient", "unknown", "refused_host", "price",
    "not_prepared", "policy", "foreign",
]


class AzureTrouble(ToolFailed):
    """A call to Azure did not do what it should. What Azure said is `heard`: people read it, the brain never does."""

    def __init__(self, kind: TroubleKind, what: str, because: str, try_next: str, *, heard: str = "", status: int = 0, code: str = "",
                 request_id: str = "") -> None:
        """`status` and `code` are Azure's own, 0 and empty where there was no answer."""
        super().__init__(what, because, try_next, kind=kind, heard=heard)
        self.trouble: TroubleKind = kind
        self.status, self.code, self.request_id = status, code, request_id
