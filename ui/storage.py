"""Where the bytes of screen elements lie: a folder of the home, served by our own signed-in route."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from chainlit.data.storage_clients.base import BaseStorageClient


class OutsideStorage(ValueError):
    """A key that would leave the storage folder."""


class LocalStorage(BaseStorageClient):
    """Chainlit's storage port over one folder. Keys are `{user}/{element}/{name}`, names as people gave them."""

    def __init__(self, root: Path, prefix: str = "/elements") -> None:
        self.root, self.prefix = root.resolve(), prefix

    def path(self, object_key: str) -> Path:
        """The file of a key. Raises OutsideStorage for one that leaves the folder."""
        if "\0" in object_key:
            raise OutsideStorage("The element key holds a NUL.")
        found = (self.root / object_key).resolve()
        if not found.is_relative_to(self.root) or found == self.root:
            raise OutsideStorage(f"The element key {object_key!r} leaves the storage folder.")
        return found

    async def upload_file(
        self,
        object_key: str,
        data: bytes | str,
        mime: str = "application/octet-stream",
        overwrite: bool = True,
        content_disposition: str | None = None,
    ) -> dict[str, Any]:
        """Write one element, owner-readable, and say how to fetch it."""
        path = self.path(object_key)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        path.chmod(0o600)
        return {"object_key": object_key, "url": await self.get_read_url(object_key)}

    async def delete_file(self, object_key: str) -> bool:
        """Remove one element; True when it was there."""
        path = self.path(object_key)
        if not path.is_file():
            return False
        path.unlink()
        return True

    async def get_read_url(self, object_key: str) -> str:
        """The address of a key on our own server."""
        return f"{self.prefix}/{quote(object_key)}"

    async def close(self) -> None:
        """Nothing is held open."""
