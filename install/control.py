"""A client of the control socket in the standard library: one request object out, JSON lines back."""

import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from install.trouble import SetupFailed


def ask(home: Path, request: Mapping[str, Any], timeout_s: float = 600) -> Iterator[dict[str, Any]]:
    """The lines that the server of `home` answers. Raises SetupFailed on its error line, OSError when nobody listens."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(timeout_s)
        line.connect(str(home / "control.sock"))
        line.sendall(json.dumps(request).encode() + b"\n")
        with line.makefile("r", encoding="utf-8") as answers:
            for text in answers:
                answer = json.loads(text)
                if error := answer.get("error"):
                    raise SetupFailed(error["what"], error["because"], error["try_next"])
                yield answer


def end(home: Path, request: Mapping[str, Any], timeout_s: float = 600) -> Any:
    """The value of the answer's `end` line."""
    value = None
    for answer in ask(home, request, timeout_s):
        value = answer.get("end", value)
    return value
