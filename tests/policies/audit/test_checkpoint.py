"""Checkpoints and signed notes, in their one right form."""

import base64

import pytest

from policies.audit.checkpoint import BadNote, Checkpoint, open_note, sign_note, split_note
from policies.audit.keys import key_id
from tests.policies.audit.logs import new_key

ORIGIN = "luthier/x"
POINT = Checkpoint(ORIGIN, 20, bytes(range(32)))


def test_a_checkpoint_is_three_lines_and_reads_back() -> None:
    assert POINT.text() == b"luthier/x\n20\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
    assert Checkpoint.parse(POINT.text()) == POINT


@pytest.mark.parametrize("text", [
    b"", b"luthier/x\n20\n", b"luthier/x\n020\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n", b"luthier/x\n-1\nAAAA\n",
    b"luthier/x\n20\nAAAA\n",
    b"luthier/x\n20\n????\n", POINT.text() + b"more\n", POINT.text()[:-1], b"\xff\n20\nAAAA\n", b"x\ntwenty\nAAAA\n",
], ids=repr)
def test_what_is_no_checkpoint_is_refused(text: bytes) -> None:
    with pytest.raises(BadNote):
        Checkpoint.parse(text)


def test_a_note_opens_with_its_key_and_says_which_it_was() -> None:
    key = new_key()
    note = sign_note(POINT.text(), key, ORIGIN)
    ours = key_id(ORIGIN, key.public)
    assert open_note(note, ORIGIN, {ours: key.public}) == (POINT.text(), ours)
    assert note.startswith(POINT.text() + b"\n\xe2\x80\x94 luthier/x ") and note.endswith(b"\n")


def test_signatures_of_others_on_a_note_do_no_harm() -> None:
    key, witness = new_key(), new_key()
    note = sign_note(POINT.text(), key, ORIGIN)
    both = note + sign_note(POINT.text(), witness, "witness.example")[len(POINT.text()) + 1:]
    assert open_note(both, ORIGIN, {key_id(ORIGIN, key.public): key.public})[0] == POINT.text() and len(split_note(both)[1]) == 2


def test_a_note_does_not_open_with_another_key_another_name_or_other_words() -> None:
    key, other = new_key(), new_key()
    note, keys = sign_note(POINT.text(), key, ORIGIN), {key_id(ORIGIN, key.public): key.public}
    for changed, name, known in (
        (note, ORIGIN, {key_id(ORIGIN, other.public): other.public}), (note, "luthier/y", keys), (note, ORIGIN, {}),
        (note.replace(b"\n20\n", b"\n21\n"), ORIGIN, keys), (note, ORIGIN, {key_id(ORIGIN, key.public): other.public}),
    ):
        with pytest.raises(BadNote):
            open_note(changed, name, known)


@pytest.mark.parametrize("note", [b"", b"x\n\n", b"x\n\n\xe2\x80\x94 a\n", b"x\n\n- a AAAAAAAA\n", b"x\n\n\xe2\x80\x94 a ????\n",
                                  b"x\n\n\xe2\x80\x94 a AAAA\n", b"x\n\n\xff\n"], ids=repr)
def test_what_is_no_note_is_refused(note: bytes) -> None:
    with pytest.raises(BadNote):
        split_note(note)


def test_a_note_made_by_another_program_opens() -> None:
    # The example in the documents of golang.org/x/mod/sumdb/note.
    text = b"If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    line = b"\xe2\x80\x94 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    public = base64.b64decode(vkey.split("+", 2)[2])[1:]
    assert open_note(text + b"\n" + line, "PeterNeumann", {"c74f20a3": public}) == (text, "c74f20a3")
