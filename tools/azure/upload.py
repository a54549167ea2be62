"""The way of a file's pieces to a share, several at once, and the name of its content beside them."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tools.azure.transfer import Piece, each_piece, marked
from tools.azure.trouble import AzureTrouble

FIRST = 64 << 20
"""Bytes of the largest file whose content is named before it is sent; a larger one is read while its first pieces are on their way."""


def send(ask: Callable[[str, Callable[[], Any]], Any], what: str, local: Path, file: Any, own: dict[str, str], missing: Sequence[Piece],
         workers: int, tell: Callable[[int], None]) -> None:
    """Put the pieces of a file into its part, and the digest into the part's metadata where `own` has none yet.

    A part without a digest is never gone on with. No piece carries a checksum of its own: TLS authenticates each record on the way.
    """
    def name() -> None:
        whole = marked(local, own)
        ask(what, lambda: file.set_file_metadata(whole))

    with local.open("rb") as source, ThreadPoolExecutor(workers) as pool, ThreadPoolExecutor(1) as beside:
        def one(piece: Piece) -> None:
            begin, length = piece
            data = os.pread(source.fileno(), length, begin)
            if len(data) != length:
                raise AzureTrouble("conflict", what, "The file became shorter while it was read.", "Leave it alone and start again.")
            ask(what, lambda: file.upload_range(data, begin, length))
            tell(length)

        named = None if "sha256" in own else beside.submit(name)
        each_piece(pool, one, missing)
        if named is not None:
            named.result()
