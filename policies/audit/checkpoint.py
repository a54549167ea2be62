"""Signed statements about the log: C2SP checkpoints (origin, size, root) and signed notes with Ed25519."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

from policies.audit.keys import Key, is_signed, key_hash

DASH = "\u2014"
"""What a signature line of a note begins with."""


class BadNote(Exception):
    """A note that cannot be read or is not signed by the key it should be signed by."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the log looked like at one size (C2SP tlog-checkpoint, without extension lines)."""

    origin: str
    size: int
    """How many records."""
    root: bytes
    """The root of their Merkle tree, 32 bytes."""

    def text(self) -> bytes:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n".encode()

    @classmethod
    def parse(cls, text: bytes) -> "Checkpoint":
        """The checkpoint in these three lines. Raises BadNote."""
        try:
            origin, size, root, rest = text.decode().split("\n")
            found = cls(origin, int(size), base64.b64decode(root, validate=True))
        except (ValueError, binascii.Error) as error:
            raise BadNote(f"It is no checkpoint: {error}.") from error
        if rest or found.text() != text or found.size < 0 or len(found.root) != 32:
            raise BadNote("It is no checkpoint in its one right form.")
        return found


def sign_note(text: bytes, key: Key, name: str) -> bytes:
    """The text, an empty line, and one signature line (C2SP signed-note)."""
    mark = base64.b64encode(key_hash(name, key.public) + key.sign(text)).decode()
    return text + f"\n{DASH} {name} {mark}\n".encode()


def split_note(note: bytes) -> tuple[bytes, list[tuple[str, bytes, bytes]]]:
    """The text of a note and its signatures as (key name, key hash, signature). Raises BadNote."""
    text, found, lines = note.rpartition(b"\n\n")
    if not found or not lines.endswith(b"\n"):
        raise BadNote("It is no signed note.")
    signatures = []
    try:
        for line in lines.decode().removesuffix("\n").split("\n"):
            dash, name, mark = line.split(" ")
            raw = base64.b64decode(mark, validate=True)
            if dash != DASH or len(raw) < 5:
                raise ValueError("no signature line")
            signatures.append((name, raw[:4], raw[4:]))
    except (ValueError, binascii.Error) as error:
        raise BadNote(f"It is no signed note: {error}.") from error
    return text + b"\n", signatures


def open_note(note: bytes, name: str, keys: Mapping[str, bytes]) -> tuple[bytes, str]:
    """The text of a note and the id of the key that signed it, out of public keys by id. Raises BadNote."""
    text, signatures = split_note(note)
    for signer, mark, signature in signatures:
        public = keys.get(mark.hex())
        if signer == name and public is not None and key_hash(name, public) == mark:
            if not is_signed(public, signature, text):
                raise BadNote(f"The signature of key {mark.hex()} is not right.")
            return text, mark.hex()
    raise BadNote("None of the known keys has signed it.")
