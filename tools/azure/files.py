"""A share of Azure Files: resumable uploads and downloads, reading on from a position, lists whose names can be trusted."""

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from policies.tool import ToolFailed
from tools.azure.client import Azure
from tools.azure.place import CloudPlace
from tools.azure.share_ask import REFUSED_KEY, TRIES, Gone, There, ask
from tools.azure.share_entry import Entry, Shrunk, etag_of, length_of, listed
from tools.azure.share_names import safe_name, safe_relative, without_twins
from tools.azure.transfer import begun, coverage, each_piece, forget, is_covered, is_sound, marked, note, pieces, seen
from tools.azure.trouble import AzureTrouble
from tools.azure.upload import FIRST, send

T = TypeVar("T")
RANGE, CHUNK = 4 << 20, 8 << 20
"""Bytes of a range that is put (the most that the service takes), and of one that is read."""
WORKERS = 4
MOST = 200 << 30
"""Bytes of the largest file that is downloaded."""
MOST_ENTRIES, DEEPEST = 10_000, 20
"""Of a list that is read: files and folders, and folders in one another. A run may have written any number."""
Progress = Callable[[int], None]
"""Hears how many bytes have come or gone since it was called last."""


class Share:
    """One share. Every method raises AzureTrouble; thread-safe."""

    def __init__(self, client: Any, pause_s: float = 0.5, renew: Callable[[], bool] = lambda: False) -> None:
        """`client`: the library's ShareClient. `pause_s` before the second try of a request that Azure was too busy for.

        `renew` gives the client the account's key of now; whether it is another one.
        """
        self._client, self._pause_s, self._renew = client, pause_s, renew
        self._made: set[str] = set()

    def _try(self, what: str, work: Callable[[], T], *, gone: bool = False) -> T:
        try:
            return ask(what, work, self._pause_s, gone=gone)
        except AzureTrouble as trouble:
            if trouble.code != REFUSED_KEY or not self._renew():
                raise
        return ask(what, work, self._pause_s, gone=gone)

    def make_folders(self, path: str) -> None:
        """Make a folder and those above it; what is there stays."""
        parts = safe_relative(path).split("/")
        for count in range(1, len(parts) + 1):
            folder = "/".join(parts[:count])
            if folder in self._made:
                continue
            with contextlib.suppress(There):
                self._try(f"Make the folder {folder}", lambda folder=folder: self._client.get_directory_client(folder).create_directory())
            self._made.add(folder)

    def put(self, local: Path, remote: str, *, progress: Progress | None = None, workers: int = WORKERS) -> None:
        """Upload a file so that nobody ever sees a part of it under its name; what an earlier call sent is not sent again."""
        size, own = seen(local)
        what, part = f"Upload {remote}", f"{safe_relative(remote)}.part"
        tell, covered = progress or (lambda count: None), list[tuple[int, int]]()
        file = self._client.get_file_client(part)
        if size <= FIRST or self._may_hold(remote, own) or self._may_hold(part, own):
            own = marked(local, own)
            if self._holds(remote, own):
                tell(size)
                return
        if "sha256" in own and self._holds(part, own):
            covered = coverage(self._try(what, lambda: list(file.list_ranges())))
        else:
            self._try(what, lambda: file.create_file(size, metadata=own))
        missing = [one for one in pieces(size, RANGE) if not is_covered(one, covered)]
        tell(size - sum(length for _, length in missing))
        send(self._try, what, local, file, own, missing, workers, tell)
        if seen(local)[1].items() - own.items():
            raise AzureTrouble("conflict", what, "The file changed while it was read.", "Leave it alone and start again.")
        self._publish(part, remote, size)

    def put_bytes(self, remote: str, data: bytes) -> None:
        """Write a small file at once, in place of what was there."""
        what, part = f"Write {remote}", f"{safe_relative(remote)}.part"
        file = self._client.get_file_client(part)
        self._try(what, lambda: file.create_file(len(data)))
        for begin, length in pieces(len(data), RANGE):
            piece = data[begin:begin + length]
            self._try(what, lambda piece=piece, begin=begin: file.upload_range(piece, begin, len(piece)))
        self._publish(part, remote, len(data))

    def _publish(self, part: str, remote: str, size: int) -> None:
        found = self.stat(part)
        if found is None or found.size != size:
            arrived = 0 if found is None else found.size
            raise AzureTrouble("conflict", f"Upload {remote}", f"{size} bytes were sent, and {arrived} arrived.", "Try again.")
        self._try(f"Upload {remote}", lambda: self._client.get_file_client(part).rename_file(remote, overwrite=True))

    def _may_hold(self, remote: str, own: dict[str, str]) -> bool:
        """Whether it has been sent from a file of this size and time, so that the content is worth a look."""
        found = self._properties(remote)
        return found is not None and own.items() <= dict(found.metadata or {}).items()

    def _holds(self, remote: str, own: dict[str, str]) -> bool:
        found = self._properties(remote)
        return found is not None and str(found.size) == own["size"] and dict(found.metadata or {}) == own

    def get(self, remote: str, local: Path, *, size: int | None = None, sha256: str | None = None, progress: Progress | None = None,
            workers: int = WORKERS) -> None:
        """Download a file whole or not at all; goes on from what an earlier call brought, unless the file has changed since.

        `size` and `sha256` are what it must have. AzureTrouble `conflict` when it has not.
        """
        what = f"Download {safe_relative(remote)}"
        for _ in range(TRIES):
            found = self.stat(remote)
            if found is None or found.is_dir:
                raise AzureTrouble("not_found", what, "It is not on the share.", "Look at the run with run_status.")
            if found.size > MOST or (size is not None and found.size != size):
                raise AzureTrouble("conflict", what, f"It has {found.size} bytes; {MOST if size is None else size} were expected.",
                                   "It was changed after the run wrote it: do not use it.")
            part = local.with_name(f"{local.name}.part")
            with contextlib.suppress(Shrunk):
                self._fill(what, remote, found, part, progress or (lambda count: None), workers)
                if not is_sound(part, sha256):
                    forget(part)
                    raise AzureTrouble("conflict", what, "Its content is not what the run's manifest says.",
                                       "It was changed after the run wrote it: do not use it.")
                os.replace(part, local)
                forget(part)
                return
        raise AzureTrouble("conflict", what, "It changes while it is read.", "Try again when the run has ended.")

    def _fill(self, what: str, remote: str, found: Entry, part: Path, tell: Progress, workers: int) -> None:
        """Bring the part to its full size. Raises Shrunk when the file changed: what was brought is forgotten then."""
        have = begun(part, found.etag, found.size)
        tell(have)
        file = self._client.get_file_client(remote)
        fd = os.open(part, os.O_RDWR | os.O_CREAT, 0o600)

        def bring(one: tuple[int, int]) -> None:
            begin, length = one
            stream = self._try(what, lambda: file.download_file(offset=begin, length=length, max_concurrency=1))
            data = self._try(what, stream.readall)
            if etag_of(stream.properties) != found.etag or len(data) != length:
                raise Shrunk(remote)
            os.pwrite(fd, data, begin)
            tell(length)

        try:
            left = [(have + begin, length) for begin, length in pieces(found.size - have, CHUNK)]
            with ThreadPoolExecutor(workers) as pool:
                for turn in range(0, len(left), 2 * workers):
                    each_piece(pool, bring, left[turn:turn + 2 * workers])
                    begin, length = left[min(turn + 2 * workers, len(left)) - 1]
                    note(part, found.etag, found.size, begin + length)
            os.ftruncate(fd, found.size)
        except Shrunk:
            forget(part)
            raise
        finally:
            os.close(fd)

    def read(self, remote: str, offset: int, most: int = 1 << 20) -> bytes:
        """Bytes from an offset, at most `most`, in one request; empty at the end. Raises Shrunk when the file is shorter than that."""
        from azure.core.exceptions import HttpResponseError

        what, file = f"Read {safe_relative(remote)}", self._client.get_file_client(remote)

        def bring() -> bytes:
            try:
                return file.download_file(offset=offset, length=most, max_concurrency=1).readall()
            except HttpResponseError as error:
                if error.status_code != 416:
                    raise
                length = length_of(error)
                if length is None:
                    found = self.stat(remote)
                    length = 0 if found is None else found.size
                if length < offset:
                    raise Shrunk(remote) from error
                return b""

        return self._try(what, bring)

    def stat(self, remote: str) -> Entry | None:
        """A file; None when there is none."""
        found = self._properties(remote)
        if found is None:
            return None
        return Entry(remote.rpartition("/")[2], False, int(found.size), etag_of(found), found.last_modified or datetime.now(UTC))

    def _properties(self, remote: str) -> Any:
        file = self._client.get_file_client(safe_relative(remote))
        try:
            return self._try(f"Look at {remote}", file.get_file_properties)
        except AzureTrouble as trouble:
            if trouble.trouble == "not_found":
                return None
            raise

    def entries(self, folder: str) -> tuple[Entry, ...]:
        """What lies in a folder, by name; nothing when there is none. ToolFailed `foreign_name` on a name that cannot be used here."""
        found = self._listed(folder)
        for each in found:
            safe_relative(each.name)
        without_twins([each.name for each in found])
        return found

    def _listed(self, folder: str) -> tuple[Entry, ...]:
        directory = self._client.get_directory_client(safe_relative(folder))
        include = ["Etag", "timestamps"]
        try:
            found = self._try(f"List {folder}", lambda: list(islice(
                directory.list_directories_and_files(include=include), MOST_ENTRIES + 1)))
        except AzureTrouble as trouble:
            if trouble.trouble == "not_found":
                return ()
            raise
        if len(found) > MOST_ENTRIES:
            raise _too_many(folder)
        return tuple(sorted((listed(each) for each in found), key=lambda each: each.name))

    def walk(self, folder: str) -> Iterator[tuple[str, Entry]]:
        """Every file below a folder, with its path from that folder on. ToolFailed as `entries`."""
        waiting, seen = [""], 0
        while waiting:
            above = waiting.pop()
            for each in self.entries(f"{folder}/{above}".rstrip("/")):
                path = f"{above}/{each.name}".lstrip("/")
                seen += 1
                if seen > MOST_ENTRIES or path.count("/") >= DEEPEST:
                    raise _too_many(folder)
                if each.is_dir:
                    waiting.append(path)
                else:
                    yield path, each

    def delete(self, remote: str) -> None:
        """Delete a file; harmless when it is not there."""
        with contextlib.suppress(Gone):
            self._try(f"Delete {remote}", self._client.get_file_client(safe_relative(remote)).delete_file, gone=True)

    def delete_tree(self, folder: str) -> None:
        """Delete a folder and everything in it; names that cannot be used here are left, and keep it."""
        for each in self._listed(folder):
            if not safe_name(each.name):
                continue
            if each.is_dir:
                self.delete_tree(f"{folder}/{each.name}")
            else:
                self.delete(f"{folder}/{each.name}")
        self._made = {made for made in self._made if made != folder and not made.startswith(f"{folder}/")}
        with contextlib.suppress(Gone):
            self._try(f"Delete {folder}", self._client.get_directory_client(folder).delete_directory, gone=True)


def _too_many(folder: str) -> ToolFailed:
    return ToolFailed(f"List {folder}", f"It has more than {MOST_ENTRIES} files, or more than {DEEPEST} folders in one another.",
                      "No run of Luthier's leaves so many: look at the share, and delete what does not belong there.", kind="foreign_name")


def open_share(azure: Azure, place: CloudPlace) -> Share:
    """The share of a place, with the account's key as Azure gives it now: it is used by the client alone and kept nowhere else."""
    try:
        from azure.storage.fileshare import ExponentialRetry, ShareServiceClient
    except ImportError as missing:
        from tools.azure.credential import not_installed

        raise not_installed() from missing
    azure.check_subscription(place.subscription, f"The share in {place.region} was not opened")
    url = azure.check_host(place.files, "files")
    accounts = azure.storage().storage_accounts

    def key() -> str:
        found = azure.call("The key of the storage account was not read", lambda: accounts.list_keys(place.group, place.account))
        return str(found.keys_property[0].value)

    # The library would wait 15 seconds before its second try; `ask` tries again beside it.
    tries = ExponentialRetry(initial_backoff=1, increment_base=2, retry_total=0 if azure.choice.endpoint else 2, random_jitter_range=1)
    verify: dict[str, Any] = {"connection_verify": str(azure.choice.ca)} if azure.choice.ca else {}
    service = ShareServiceClient(
        url, credential={"account_name": place.account, "account_key": key()},
        connection_timeout=10, read_timeout=60, max_single_get_size=32 << 20, max_chunk_get_size=CHUNK, max_range_size=RANGE,
        retry_policy=tries, **verify)

    def renew() -> bool:
        signer, now = service.credential, key()
        if signer.account_key == now:
            return False
        signer.account_key = now  # all clients of this service sign with it
        return True

    return Share(service.get_share_client(place.share), 0.01 if azure.choice.endpoint else 0.5, renew)
