"""Folders of files on their way to a share: sent once under a name that follows from their content, gone on with where they broke off."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from policies import fault

COMPLETE = "complete.json"
"""Written last into a folder of uploaded files: what is there is whole."""
Say = Callable[[str, float | None], None]


class Parcels:
    """Sends them and tells how far all have come. Every method raises AzureTrouble, and whatever `say` raises."""

    def __init__(self, share: Any, say: Say, total: int) -> None:
        """`total`: bytes of all that will be sent."""
        self._share, self._say, self._total, self._done = share, say, max(1, total), 0

    def whole(self, remote: str, files: Mapping[str, Path], what: str, check: Callable[[], object] = lambda: None) -> None:
        """Files that never change under their folder's name: nothing is sent when all of it is there.

        `check` raises when they are not any more what the folder is called after.
        """
        if self._share.stat(f"{remote}/{COMPLETE}") is not None:
            self._done += sum(path.stat().st_size for path in files.values())
            return
        self.files(remote, files, what)
        check()
        fault.point("cloud.upload.complete")
        self._share.put_bytes(f"{remote}/{COMPLETE}", json.dumps({"files": sorted(files)}).encode())

    def files(self, remote: str, files: Mapping[str, Path], what: str) -> None:
        """Each of them; one that is there already is not sent again."""
        self._share.make_folders(remote)
        for name, path in files.items():
            self._share.make_folders(f"{remote}/{name}".rpartition("/")[0])
            self._more(what, 0)
            fault.point("cloud.upload.file")
            self._share.put(path, f"{remote}/{name}", progress=lambda count: self._more(what, count))

    def _more(self, what: str, count: int) -> None:
        self._done += count
        self._say(f"{what} goes to Azure", min(0.99, self._done / self._total))
