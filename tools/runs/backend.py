"""What the reconciler of cloud runs asks of the cloud: the same few verbs of Azure and of a test's stand-in."""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from tools.runs.cloud_look import Seen
from tools.runs.cloud_row import CloudRow

Say = Callable[[str, float | None], None]
"""Hears how far long work has come; raises Interrupted when the work shall end."""


class Interrupted(Exception):
    """A stop came while something was uploaded or downloaded."""


class CloudBackend(Protocol):
    """Every method may raise AzureTrouble. Thread-safe for different runs."""

    def now(self) -> datetime:
        """The cloud's clock."""
        ...

    def observe(self, row: CloudRow) -> Seen:
        """What is to be seen of a run in its phase."""
        ...

    def tail(self, row: CloudRow) -> None:
        """Bring what the run has written since the last look or tail: its events and its log."""
        ...

    def upload(self, row: CloudRow, say: Say) -> None:
        """Put on the share what the attempt needs; goes on where an earlier call ended."""
        ...

    def put(self, row: CloudRow) -> None:
        """Make the job of the attempt; harmless when it is there."""
        ...

    def start(self, row: CloudRow) -> str:
        """Send the start once; the execution's name. StartUnknown, or AzureTrouble when it certainly began nothing."""
        ...

    def stop(self, row: CloudRow, execution: str) -> None:
        """Ask one execution to end; harmless when it has."""
        ...

    def fetch(self, row: CloudRow, say: Say) -> str:
        """Download and verify what the run made; a note for people, or empty."""
        ...
