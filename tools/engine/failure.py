"""Why a run failed, in one word for programs and one sentence for people."""

import errno
from typing import Literal

Kind = Literal["oom", "disk", "data", "diverged", "model", "bug", "no_adapter", "export"]


class EngineFailed(Exception):
    """A failure whose kind and sentence are known where it is raised."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.message = message


class Cancelled(BaseException):
    """A person stopped the run. No Exception: Olive would swallow it and save the pass as finished."""


def _chain(error: BaseException) -> list[BaseException]:
    """The error and what led to it, outermost first."""
    chain: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None and seen not in chain:
        chain.append(seen)
        seen = seen.__cause__ or seen.__context__
    return chain


_NO_MEMORY = ("not enough memory", "can't allocate memory", "out of memory", "std::bad_alloc", "Cannot allocate memory")
_NO_DISK = ("No space left on device", "disk quota exceeded")


def explain(error: BaseException) -> tuple[Kind, str]:
    """The kind of a failure and a sentence that says what to do; never a traceback."""
    chain = _chain(error)
    for link in chain:
        if isinstance(link, EngineFailed):
            return link.kind, link.message
    for link in chain:
        text = str(link)
        if (isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT)) or any(sign in text for sign in _NO_DISK):
            return "disk", "The disk is full. Free some space and resume the run; the last checkpoint is kept."
        if isinstance(link, MemoryError) or type(link).__name__ == "OutOfMemoryError" or any(sign in text for sign in _NO_MEMORY):
            return "oom", "The memory was not enough. Choose a smaller batch, shorter rows or gradient checkpointing, and start again."
    name = type(error).__name__
    return "bug", f"The engine stopped on an error it does not know ({name}). The run's log has the details; please report it."
