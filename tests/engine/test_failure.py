"""Errors become one kind and one sentence."""

import errno

import pytest

from tools.engine.failure import EngineFailed, explain


def because(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        pytest.param(MemoryError(), "oom", id="memory"),
        pytest.param(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"), "oom", id="torch on a CPU"),
        pytest.param(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "oom", id="torch on a GPU"),
        pytest.param(OSError(errno.ENOSPC, "No space left on device"), "disk", id="disk"),
        pytest.param(because(RuntimeError("pass failed"), OSError(errno.ENOSPC, "x")), "disk", id="disk inside another error"),
        pytest.param(because(RuntimeError("x"), EngineFailed("diverged", "The loss …")), "diverged", id="known inside another error"),
        pytest.param(ValueError("a secret path /home/x"), "bug", id="unknown"),
    ],
)
def test_errors_have_a_kind_and_a_sentence_without_their_text(error: Exception, kind: str) -> None:
    found, message = explain(error)
    assert found == kind and "/home/x" not in message and "\n" not in message and message.endswith((".", "…"))
