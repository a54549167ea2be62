"""What answers for a deployment whose time is over: 410 to everybody. Standard library only, so that nothing is installed for it.

    python serve_over.py FOLDER --port N -- SCRIPT …

Begins the script while the time in the folder's `serve.json` is not over yet. It answers in place of ending: a container that ends is
started again and again, and one that nobody asks any more is put to sleep.
"""

import contextlib
import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MOST = 1_000_000
"""Bytes of a body that are waited for."""
SAID = {"error": {"message": "This deployment's time is over: it answers no more. Whoever runs it can start it again with redeploy.",
                  "type": "invalid_request_error", "param": None, "code": "expired"}}


class Over(BaseHTTPRequestHandler):
    """410, with or without the key; health is well, since there is nothing to mend."""

    protocol_version = "HTTP/1.1"
    timeout = 10

    def answer(self) -> None:
        """Say so, and close."""
        length = self.headers.get("Content-Length", "")
        self.rfile.read(min(int(length), MOST) if length.isdigit() else 0)  # a client that is still sending would not hear it
        well = self.path == "/healthz"
        said = json.dumps({"status": "over"} if well else SAID).encode()
        self.send_response(200 if well else 410)
        for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(said))), ("Connection", "close")):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(said)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

    def log_message(self, format: str, *args: object) -> None:
        """Nobody's request is written down."""


def refuse(host: str, port: int) -> None:
    """Answer until a signal raises something."""
    with ThreadingHTTPServer((host, port), Over) as server:
        server.serve_forever()


def ends_at(folder: Path) -> float:
    """Seconds since 1970 at which its time is over; 0 for never."""
    with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
        return float(json.loads((folder / "serve.json").read_bytes()).get("until") or 0)
    return 0.0


def main(folder: str, _: str, port: str, __: str, *script: str) -> None:
    """Begin the script in our place, or refuse whatever comes."""
    until = ends_at(Path(folder))
    if not until or time.time() < until:
        os.execv(sys.executable, [sys.executable, *script])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    refuse("0.0.0.0", int(port))


if __name__ == "__main__":
    main(*sys.argv[1:])
