"""The keys that sign the record: Ed25519, in a folder of their own outside the book, with the last signed checkpoint beside them."""

import base64
import hashlib
import os
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ED25519 = b"\x01"
"""The algorithm's byte in a C2SP signed note."""


class KeyTrouble(Exception):
    """A key cannot be read or kept; the text says what to do."""


class Key:
    """One private key. Its number in a log depends on the log's name (C2SP signed-note)."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of an Ed25519 signature."""
        return self._private.sign(message)

    def pem(self) -> bytes:
        """The private key as PKCS 8, for its own file alone."""
        return self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def key_hash(name: str, public: bytes) -> bytes:
    """The first four bytes of SHA-256(name ‖ newline ‖ 1 ‖ public key), by which a note names its key."""
    return hashlib.sha256(name.encode() + b"\n" + ED25519 + public).digest()[:4]


def key_id(name: str, public: bytes) -> str:
    """The same as eight hexadecimal digits."""
    return key_hash(name, public).hex()


def vkey(name: str, public: bytes) -> str:
    """The public key as one line: name, key hash, and base64 of algorithm and key, joined by `+` (C2SP signed-note)."""
    return f"{name}+{key_id(name, public)}+{base64.b64encode(ED25519 + public).decode()}"


def is_signed(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether this key signed this message."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


class KeyRing:
    """The key in force, perhaps its successor, and the last checkpoint that was signed; one process holds it."""

    def __init__(self, folder: Path, current: Key, following: Key | None) -> None:
        self.folder, self.current, self.following = folder, current, following
        self._last = os.fspath(folder / "last.checkpoint")

    @classmethod
    def open(cls, folder: Path) -> "KeyRing":
        """Open the folder (0700), making it and the first key (0600) where there is none. Raises KeyTrouble."""
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.chmod(folder, 0o700)
            current = _read(folder / "audit.key")
            if current is None:
                current = Key(Ed25519PrivateKey.generate())
                _keep(folder / "audit.key", current.pem())
            return cls(folder, current, _read(folder / "audit.next.key"))
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyTrouble(
                f"The keys of the audit log in {folder} cannot be used ({type(error).__name__}). Restore the folder from a "
                f"backup, or check its owner and its permissions."
            ) from error

    def publish(self, name: str) -> None:
        """Write the public key in force to `audit.pub`; auditors keep a copy of this file."""
        line = f"{vkey(name, self.current.public)}\n".encode()
        path = self.folder / "audit.pub"
        if not path.is_file() or path.read_bytes() != line:
            _keep(path, line, 0o644)

    def prepare(self) -> Key:
        """Make the successor and keep it beside the key in force, which it does not replace yet."""
        self.following = Key(Ed25519PrivateKey.generate())
        _keep(self.folder / "audit.next.key", self.following.pem())
        return self.following

    def promote(self) -> None:
        """The successor is in force, and the old private key is gone."""
        if self.following is not None:
            os.replace(self.folder / "audit.next.key", self.folder / "audit.key")
            _sync(self.folder)
            self.current, self.following = self.following, None

    def drop(self) -> None:
        """The successor was never recorded: forget it."""
        with suppress(FileNotFoundError):
            os.unlink(self.folder / "audit.next.key")
        self.following = None

    def remember(self, note: bytes) -> None:
        """Keep the last signed checkpoint outside the book."""
        _keep(Path(self._last), note, 0o644)

    def remembered(self) -> bytes | None:
        """The last signed checkpoint as kept outside the book; None when there is none yet."""
        try:  # asked before each signature, for which an append waits
            handle = os.open(self._last, os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            return os.read(handle, 100_000)
        except IsADirectoryError:
            return None
        finally:
            os.close(handle)


def _read(path: Path) -> Key | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    with os.fdopen(handle, "rb") as file:
        os.fchmod(handle, 0o600)
        private = serialization.load_pem_private_key(file.read(10_000), None)
    if not isinstance(private, Ed25519PrivateKey):
        raise TypeError("no Ed25519 key")
    return Key(private)


def _keep(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file whole or not at all, and have it on disk before returning."""
    part = path.with_name(path.name + ".part")
    with suppress(FileNotFoundError):
        os.unlink(part)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(handle)
    os.replace(part, path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
