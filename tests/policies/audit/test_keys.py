"""The keys: made once, kept from others, replaced whole or not at all."""

import base64
import stat
from pathlib import Path

import pytest

from policies.audit.keys import KeyRing, KeyTrouble, is_signed, key_hash, key_id, vkey


def mode(path: Path) -> int:
    """The permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_folder_gets_one_key_that_only_its_owner_can_read(tmp_path: Path) -> None:
    first, again = KeyRing.open(tmp_path / "keys"), KeyRing.open(tmp_path / "keys")
    assert first.current.public == again.current.public and first.following is None
    assert mode(tmp_path / "keys") == 0o700 and mode(tmp_path / "keys" / "audit.key") == 0o600


def test_permissions_that_became_wide_are_narrowed(tmp_path: Path) -> None:
    KeyRing.open(tmp_path)
    (tmp_path / "audit.key").chmod(0o644)
    KeyRing.open(tmp_path)
    assert mode(tmp_path / "audit.key") == 0o600


def test_a_key_signs_what_only_its_public_half_confirms(tmp_path: Path) -> None:
    one, other = KeyRing.open(tmp_path / "a").current, KeyRing.open(tmp_path / "b").current
    mark = one.sign(b"x")
    assert is_signed(one.public, mark, b"x")
    assert not is_signed(one.public, mark, b"y") and not is_signed(other.public, mark, b"x") and not is_signed(b"short", mark, b"x")


def test_the_public_line_is_the_one_that_other_programs_write() -> None:
    # The key of the documents of golang.org/x/mod/sumdb/note.
    line = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    public = base64.b64decode(line.split("+", 2)[2])[1:]
    assert vkey("PeterNeumann", public) == line and key_id("PeterNeumann", public) == key_hash("PeterNeumann", public).hex() == "c74f20a3"


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"], ids=repr)
def test_a_key_that_cannot_be_read_is_said_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "audit.key").write_bytes(content)
    with pytest.raises(KeyTrouble, match="Restore the folder"):
        KeyRing.open(tmp_path)


def test_a_link_in_the_place_of_the_key_is_not_followed(tmp_path: Path) -> None:
    KeyRing.open(tmp_path / "other")
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "audit.key").symlink_to(tmp_path / "other" / "audit.key")
    with pytest.raises(KeyTrouble):
        KeyRing.open(tmp_path / "keys")


def test_a_successor_is_in_force_only_when_it_was_promoted_and_then_the_old_key_is_gone(tmp_path: Path) -> None:
    ring = KeyRing.open(tmp_path)
    old, new = ring.current.public, ring.prepare().public
    assert KeyRing.open(tmp_path).current.public == old
    again = KeyRing.open(tmp_path)
    assert again.following is not None and again.following.public == new
    again.promote()
    assert KeyRing.open(tmp_path).current.public == new and not (tmp_path / "audit.next.key").exists()
    again.prepare()
    again.drop()
    assert KeyRing.open(tmp_path).following is None


def test_the_public_key_and_the_last_checkpoint_lie_beside(tmp_path: Path) -> None:
    ring = KeyRing.open(tmp_path)
    assert ring.remembered() is None
    ring.publish("luthier/x")
    ring.remember(b"note")
    assert (tmp_path / "audit.pub").read_text() == vkey("luthier/x", ring.current.public) + "\n" and ring.remembered() == b"note"
