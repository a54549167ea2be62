"""Becoming the engine in a container: at once where its packages are there, after an installation by hash where they are not."""

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

from tests.tools.fakes_runs import ROOT, wait_until
from tools.runs import boot

PROGRAM = """
import json, os, sys
from pathlib import Path
Path("told.json").write_text(json.dumps({"argv": sys.argv[1:], "python": sys.executable, "root": os.environ["PYTHONPATH"]}))
"""


@dataclass
class Container:
    """A project folder, a run folder and the image's Python."""

    root: Path
    run: Path
    place: Path
    image: Path
    """What the image brings: on the path of modules."""

    def lock(self, *lines: str, kind: str = "cpu") -> None:
        """What must be there."""
        (self.root / "locks").mkdir(exist_ok=True)
        (self.root / "locks" / f"engine-{kind}.txt").write_text("".join(f"{line}\n" for line in lines))

    def torch(self) -> None:
        """The image has torch, as far as its metadata say."""
        info = self.image / "torch-2.13.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0\n")

    def command(self, *more: str) -> list[str]:
        """The command line."""
        return [sys.executable, boot.__file__, "--root", str(self.root), "--place", str(self.place), *more, "--", "train", "."]

    def environment(self) -> dict[str, str]:
        """Nothing may be fetched."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.place), "PYTHONPATH": str(self.image), "PIP_NO_INDEX": "1",
                "PIP_FIND_LINKS": str(self.place.parent / "wheels")}

    def boot(self, *more: str) -> int:
        """Start it and wait; the exit status."""
        with (self.run / "log.txt").open("a") as log:
            return subprocess.run(self.command(*more), cwd=self.run, env=self.environment(), stdout=log, stderr=log, timeout=120).returncode

    def told(self) -> dict[str, object]:
        """What the engine saw."""
        return json.loads((self.run / "told.json").read_text())

    def result(self) -> dict[str, object]:
        """The last word."""
        return json.loads((self.run / "result.json").read_text())


@pytest.fixture
def container(tmp_path: Path) -> Container:
    made = Container(tmp_path / "luthier" / "engine", tmp_path / "luthier" / "run", tmp_path / "place", tmp_path / "image")
    for folder in (made.root / "tools" / "engine", made.run, made.place, made.image):
        folder.mkdir(parents=True)
    for package in ("tools", "tools/engine"):
        (made.root / package / "__init__.py").touch()
    (made.root / "tools" / "engine" / "__main__.py").write_text(PROGRAM)
    (made.run / "spec.json").write_text(json.dumps({"device": "cpu"}))
    return made


def wheel(folder: Path) -> str:
    """A package of one module, made by hand; its hash."""
    folder.mkdir()
    path, info = folder / "luthier_probe-1.2-py3-none-any.whl", "luthier_probe-1.2.dist-info"
    files = {
        "luthier_probe.py": "VALUE = 7\n", f"{info}/METADATA": "Metadata-Version: 2.1\nName: luthier-probe\nVersion: 1.2\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}\n"
        for name, text in files.items())
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(name, text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_where_everything_is_there_it_becomes_the_engine_at_once(container: Container):
    container.lock(f"pydantic=={metadata.version('pydantic')} \\", "    --hash=sha256:00", "never==1.0 ; sys_platform == 'win32' \\")
    assert container.boot() == 0
    assert (container.told()["argv"], container.told()["python"]) == (["train", "."], sys.executable)
    assert container.told()["root"] == str(container.root) and list(container.place.iterdir()) == []


def test_the_run_folder_is_no_place_for_modules(container: Container):
    container.lock(f"pydantic=={metadata.version('pydantic')}")
    (container.run / "json.py").write_text("raise SystemExit(9)")
    assert container.boot() == 0


@pytest.mark.slow
def test_what_is_missing_is_installed_by_hash_beside_the_image_once(container: Container):
    digest = wheel(container.place.parent / "wheels")
    container.torch()
    container.lock("luthier-probe==1.2 \\", f"    --hash=sha256:{digest}")
    assert container.boot() == 0, (container.run / "log.txt").read_text()
    python = str(container.told()["python"])
    assert python.startswith(str(container.place)) and container.told()["argv"] == ["train", "."]
    assert subprocess.run([python, "-I", "-c", "import luthier_probe"]).returncode == 0
    events = [json.loads(line) for line in (container.run / "events.jsonl").read_text().splitlines()]
    assert [event["stage"] for event in events] == ["prepare"] and "1 training packages" in events[0]["text"]
    made = (Path(python).parents[1] / "complete").stat().st_mtime_ns
    assert container.boot() == 0 and (Path(python).parents[1] / "complete").stat().st_mtime_ns == made


@pytest.mark.slow
def test_a_package_that_is_not_what_the_lock_says_is_not_installed(container: Container):
    wheel(container.place.parent / "wheels")
    container.torch()
    container.lock("luthier-probe==1.2 \\", f"    --hash=sha256:{'0' * 64}")
    assert container.boot() == boot.FAILED
    assert container.result()["outcome"] == "failed" and "infra/engine.Dockerfile" in str(container.result()["message"])
    assert not (container.run / "told.json").exists()


def test_an_image_without_torch_is_refused_with_the_remedy(container: Container):
    container.lock("luthier-probe==1.2")
    assert container.boot() == boot.FAILED
    assert container.result()["error_kind"] == "missing" and "LUTHIER_AZURE_IMAGE" in str(container.result()["message"])


def test_a_missing_lock_is_a_failure_with_a_reason(container: Container):
    assert container.boot() == boot.FAILED
    assert "engine-cpu.txt" in str(container.result()["message"])


def test_the_device_of_the_run_chooses_the_lock(container: Container):
    container.lock("never-there==1.0", kind="cpu")
    container.lock(f"pydantic=={metadata.version('pydantic')}", kind="cuda")
    (container.run / "spec.json").write_text(json.dumps({"device": "cuda"}))
    assert container.boot() == 0
    assert container.boot("--lock", str(container.root / "locks" / "engine-cpu.txt")) == boot.FAILED


def test_a_stop_while_packages_are_installed_is_a_cancelled_run(container: Container):
    waits = container.place / "waits.py"
    waits.write_text("import signal\ndef main():\n    open('began', 'w').close()\n    signal.pause()\nmain()\n")
    program = (f"import runpy, sys; sys.path.insert(0, {str(ROOT)!r}); from tools.runs import boot; "
               f"boot.install = lambda *_: runpy.run_path({str(waits)!r}); sys.exit(boot.main(sys.argv[1:]))")
    container.torch()
    container.lock("luthier-probe==1.2")
    child = subprocess.Popen([sys.executable, "-c", program, *container.command()[2:]], cwd=container.run, env=container.environment())
    wait_until((container.run / "began").exists, "the installation")
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) == boot.CANCELLED


@pytest.mark.parametrize(("marker", "holds"), [
    ("", True), (" sys_platform == 'win32' ", False), ("sys_platform != 'emscripten'", True), ("python_full_version >= '3.11'", True),
    ("python_full_version < '3.11'", False), ("python_full_version >= '3.11' and sys_platform == 'win32'", False),
    ("implementation_name == 'unheard of'", True),
])
def test_a_package_counts_where_its_condition_holds(marker: str, holds: bool):
    assert boot.applies(marker) is holds


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_every_entry_of_the_locks_is_read(kind: str):
    text = (ROOT / "locks" / f"engine-{kind}.txt").read_text()
    entries = [line for line in text.splitlines() if line[:1].isalnum()]
    elsewhere = [line for line in entries if "== 'win32'" in line or "== 'emscripten'" in line]
    read = boot.pins(text)
    assert len(read) >= 70 and {"olive-ai", "peft", "transformers", "onnxruntime-genai" + ("-cuda" if kind == "cuda" else "")} <= set(read)
    assert len({line.partition("==")[0] for line in entries}) - len({line.partition("==")[0] for line in elsewhere}) <= len(read)
