"""`python -m ui`: opens the home, binds the port, serves the web face and prints the one-time sign-in link."""

import asyncio
import errno
import os
import signal
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager

import uvicorn

from agent.settings import Settings
from policies.tool import ToolFailed
from ui.shop import Shop
from ui.stage import set_the_stage

GRACE_S = 3


class Announcing(uvicorn.Server):
    """A server that says where it is once it answers, and ends open streams before it waits for connections."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None], stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._announce, self._stopping = announce, stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, then announce."""
        await super().startup(sockets)
        if self.started:
            self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End streams first: uvicorn waits for open answers."""
        self._stopping.set()
        await super().shutdown(sockets)


def bind(host: str, port: int) -> socket.socket:
    """The listening address, taken before anything is opened. Raises ToolFailed when another program has it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise ToolFailed(
                f"Port {port} is taken", f"another program listens on {host}:{port}.",
                f"Stop it, or choose another port: LUTHIER_PORT={port + 1 if port < 65535 else 8000}.", kind="port",
            ) from None
        if error.errno == errno.EACCES:
            raise ToolFailed(f"Port {port} cannot be used", "it is reserved for the system.", "Choose one above 1023: LUTHIER_PORT=8000.",
                             kind="port") from None
        raise ToolFailed(f"The address {host} cannot be used", f"{error.strerror}.", "Leave LUTHIER_HOST unset, or set it to 127.0.0.1.",
                         kind="port") from None
    return sock


def serve(settings: Settings, open_shop: Callable[[Settings], AbstractContextManager[Shop]], say: Callable[[str], None] = print) -> int:
    """Serve until a signal ends it; the exit status. Raises ToolFailed when it cannot start."""
    with open_shop(settings) as shop, bind(settings.host, settings.port) as sock:
        port = sock.getsockname()[1]
        set_the_stage(settings.root, settings.home, os.environ)
        from ui.app import address, build_app  # imports chainlit, which reads the stage

        # uvicorn ends in good order, then raises the signal again: the home must still be closed after that
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            return asyncio.run(_serve(shop, settings, port, sock, lambda: announce(shop, address(settings, port), say), build_app))
        except KeyboardInterrupt:
            return 0
        finally:
            signal.signal(signal.SIGTERM, before)


def announce(shop: Shop, url: str, say: Callable[[str], None]) -> None:
    """Print where to go. The link works once, for ten minutes."""
    say(f"Luthier is ready at {url}")
    say(f"Sign in (works once, for ten minutes): {url}/enter?t={shop.make_link()}")
    say("A new link: python -m ui link   ·   Stop: Ctrl-C; runs go on")


async def _serve(
    shop: Shop, settings: Settings, port: int, sock: socket.socket, announcement: Callable[[], None], build: Callable[..., object],
) -> int:
    stopping = asyncio.Event()
    app = build(shop, settings, port, stopping)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=GRACE_S, lifespan="on",  # pyright: ignore[reportArgumentType]
    )
    server = Announcing(config, announcement, stopping)
    await server.serve(sockets=[sock])
    return 0 if server.started else 1
