"""A request that gets no answer, in the shape that OpenAI's clients read."""

from typing import Any


class RequestRefused(Exception):
    """An HTTP status, a sentence for people, and OpenAI's words for programs."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None, retry_after_s: int = 0) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code, self.retry_after_s = status, message, param, code, retry_after_s

    @property
    def headers(self) -> dict[str, str]:
        """What goes with the status."""
        more = {"Retry-After": str(self.retry_after_s)} if self.retry_after_s else {}
        return more | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})

    def as_json(self) -> dict[str, Any]:
        """The body."""
        kinds = {429: "rate_limit_error", 500: "server_error", 503: "server_error"}
        kind = kinds.get(self.status, "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}
