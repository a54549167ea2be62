"""Errors of all providers, sorted by what a person can do."""

import httpx
import pytest

from agent.brain.failure import explain


class WithStatus(Exception):
    """An error that knows its HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__("body with a key sk-secret")
        self.status_code = status


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (WithStatus(401), "key"),
        (WithStatus(403), "key"),
        (WithStatus(404), "model"),
        (WithStatus(429), "limit"),
        (WithStatus(400), "refused"),
        (WithStatus(500), "unknown"),
        (TimeoutError(), "timeout"),
        (httpx.ReadTimeout("x"), "timeout"),
        (httpx.ConnectError("x"), "unreachable"),
        (ConnectionRefusedError(), "unreachable"),
        (ValueError("x"), "unknown"),
    ],
)
def test_an_error_is_sorted_and_its_text_is_not_repeated(error: Exception, kind: str) -> None:
    found = explain(error)
    assert found.kind == kind and found.because and found.try_next
    assert "sk-secret" not in found.because + found.try_next
