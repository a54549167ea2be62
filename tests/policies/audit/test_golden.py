"""Golden logs: what an older version wrote verifies for ever, and says the same. A new version adds files, it never changes these."""

import json
import shutil
from pathlib import Path

import pytest

from policies.audit.verify import verify

GOLDEN = Path(__file__).parent / "golden"
EXPORTS = sorted(path.name for path in GOLDEN.glob("v*.jsonl"))


def test_there_is_a_golden_log_of_every_version() -> None:
    assert EXPORTS == ["v1-all.jsonl", "v1-tail.jsonl"]


@pytest.mark.parametrize("name", EXPORTS)
def test_a_golden_log_verifies_with_its_public_key_and_nothing_else(name: str) -> None:
    status, said = verify(GOLDEN / name, strict=True, pubkey=GOLDEN / f"{name.split('-')[0]}.pub")
    last = json.loads((GOLDEN / name).read_bytes().splitlines()[-1])["seq"]
    assert status == 0 and "intact: " in said and f"signed: up to record {last}" in said, said


def test_a_golden_log_with_a_change_of_key_verifies_with_the_key_before_it() -> None:
    assert verify(GOLDEN / "v1-all.jsonl", strict=True, pubkey=GOLDEN / "v1-before.pub")[0] == 0


def test_a_golden_checkpoint_of_old_still_fits() -> None:
    assert verify(GOLDEN / "v1-all.jsonl", pubkey=GOLDEN / "v1.pub", checkpoint=GOLDEN / "v1.checkpoint")[0] == 0


@pytest.mark.parametrize("name", EXPORTS)
def test_a_golden_log_with_another_word_in_it_does_not(tmp_path: Path, name: str) -> None:
    for path in (GOLDEN / name, GOLDEN / f"{name}.digest"):
        shutil.copyfile(path, tmp_path / path.name)
    lines = (GOLDEN / name).read_bytes().splitlines(keepends=True)
    lines[7] = lines[7].replace(b'"via":"cli"', b'"via":"web"')
    (tmp_path / name).write_bytes(b"".join(lines))
    status, said = verify(tmp_path / name, pubkey=GOLDEN / "v1.pub")
    assert status == 1 and f"first bad record {json.loads(lines[7])['seq']}:" in said
