"""What a run waits for that Azure has begun and whose engine has not reported: one of the platform's own known words."""

import re
import threading
import time

from tools.azure.client import Azure
from tools.azure.place import CloudPlace
from tools.azure.replicas import replicas

KNOWN = ("AssigningReplica", "SuccessfulCreate", "PullingImage", "PulledImage", "ContainerCreated", "ContainerStarted",
         "ImagePullBackOff", "ErrImagePull", "ImagePullFailure", "BackoffLimitExceeded", "DeadlineExceeded")
"""Nothing else of what Azure writes is passed on."""
_WORD = re.compile(r"[A-Za-z]{3,40}")
PAUSE_S = 20.0


class WaitingWords:
    """Asks about one execution every twenty seconds at most. Never raises."""

    def __init__(self, azure: Azure) -> None:
        self._azure, self._lock = azure, threading.Lock()
        self._known: dict[str, tuple[float, str]] = {}

    def of(self, place: CloudPlace, job: str, execution: str) -> str:
        """The word, or empty."""
        with self._lock:
            at, word = self._known.get(execution, (0.0, ""))
            if at and time.monotonic() - at < PAUSE_S:
                return word
            self._known[execution] = (time.monotonic(), word)
        try:
            word = self._ask(place, job, execution)
        except Exception:  # it is only a word on a card
            return word
        with self._lock:
            self._known = {**dict(list(self._known.items())[-20:]), execution: (time.monotonic(), word)}
        return word

    def _ask(self, place: CloudPlace, job: str, execution: str) -> str:
        for replica in replicas(self._azure, place, job, execution):
            for container in replica.get("properties", {}).get("containers") or []:
                said = f"{container.get('runningStateDetails') or ''} {container.get('runningState') or ''}"
                found = next((word for word in _WORD.findall(said) if word in KNOWN), "")
                if found:
                    return found
        return ""
