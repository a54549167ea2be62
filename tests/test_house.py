"""The house rules that no linter knows: walls, sizes, names, the one door, locks."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("ui", "agent", "tools", "policies")
OURS = (*ROOMS, "install", "bench", "tests", "samples", "docs")
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}
FOREVER_S = 600
"""A stand-in that never answers sleeps longer than this; nobody waits for it."""
READERS_OF_THE_ENVIRONMENT = {
    "agent/settings.py", "ui/__main__.py", "tools/engine/environment.py", "policies/fault.py", "tools/engine/fault.py",
}


def sources(*folders: str) -> Iterator[Path]:
    """Every Python file below the named folders."""
    for folder in folders:
        yield from sorted(path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)


def name(path: Path) -> str:
    """A path as the project knows it."""
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    """The parsed file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def text_files() -> list[Path]:
    """Every text file that is kept under version control or about to be; outside a checkout, every source file."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False)
    files = [ROOT / line for line in listed.stdout.splitlines()] or list(sources(*OURS))
    return [path for path in files if path.is_file() and path.suffix not in {".png", ".npz", ".gguf", ".parquet", ".ico", ".woff2"}]


def test_no_source_file_has_more_than_300_lines() -> None:
    long = {name(path): lines for path in sources(*OURS) if (lines := len(path.read_text().splitlines())) > 300}
    assert not long


def test_no_file_is_called_after_nothing_in_particular() -> None:
    assert not [name(path) for path in sources(*OURS) if path.stem in BANNED_NAMES or path.parent.name in BANNED_NAMES]


def test_every_package_file_holds_a_docstring_and_nothing_else() -> None:
    for path in sources(*OURS):
        if path.name == "__init__.py":
            body = tree(path).body
            assert len(body) == 1 and ast.get_docstring(tree(path)), name(path)


def test_every_module_opens_with_its_job() -> None:
    assert not [name(path) for path in sources(*OURS) if not ast.get_docstring(tree(path)) and "versions" not in path.parts]


def test_imports_are_absolute() -> None:
    relative = [name(path) for path in sources(*OURS) for node in ast.walk(tree(path)) if isinstance(node, ast.ImportFrom) and node.level]
    assert not relative


def test_every_room_is_ours_and_not_a_strangers_of_the_same_name() -> None:
    for room in (*ROOMS, "tests"):
        file = importlib.import_module(room).__file__
        assert file is not None and Path(file).is_relative_to(ROOT), room


def test_no_file_of_the_faces_bears_a_name_that_chainlit_would_import_instead() -> None:
    """Chainlit puts `ui/` first on the path while it loads its target: a file there would hide a room or a package."""
    folders = [Path(place) for place in sys.path if place.endswith("site-packages")]
    packages = {path.stem for folder in folders for path in folder.iterdir() if path.suffix in {"", ".py"}}
    taken = (set(ROOMS) | {"tests"} | set(sys.stdlib_module_names) | packages) - {"__main__", "__init__", "__pycache__"}
    assert not [path.name for path in (ROOT / "ui").iterdir() if path.stem in taken and not path.name.startswith("__")]


def test_only_the_gateway_performs_a_tool() -> None:
    calls = {
        name(path) for path in sources(*ROOMS) for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and node.attr == "perform"
    }
    assert calls == {"policies/gateway.py"}


def test_nobody_reaches_the_door_by_another_name() -> None:
    tricks = [
        name(path) for path in sources(*ROOMS) for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and node.value == "perform"
    ]
    assert not tricks


def test_the_verifier_of_the_audit_log_imports_nothing_of_ours() -> None:
    assert not {module for module in imports(ROOT / "policies/audit/verify.py") if module.split(".")[0] in OURS}


def test_the_engine_imports_nothing_of_ours_but_itself() -> None:
    for path in sources("tools/engine"):
        strange = {module for module in imports(path) if module.split(".")[0] in OURS and not module.startswith("tools.engine")}
        assert not strange, name(path)


def test_the_set_up_and_the_runner_use_the_standard_library_alone() -> None:
    alone = [ROOT / f"tools/runs/{each}.py" for each in ("runner", "boot", "kernel", "locks")]
    for path in [*sources("install"), *alone]:
        allowed = set(sys.stdlib_module_names) | {"install"}
        strange = {module for module in imports(path) if module.split(".")[0] not in allowed}
        assert strange <= ({"tools.runs.kernel", "tools.runs.locks"} if path.stem == "runner" else set()), name(path)


def test_the_environment_is_read_in_one_place() -> None:
    readers = set()
    for path in sources(*ROOMS):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "environb"}:
                readers.add(name(path))
            if isinstance(node, ast.ImportFrom) and node.module == "os" and {a.name for a in node.names} & {"environ", "getenv"}:
                readers.add(name(path))
    passing_on = {"tools/runs/runner.py", "tools/runs/boot.py", "tools/serve/children.py", "ui/server.py"}
    """Hand the environment on to a child process or to Chainlit, and read nothing in it."""
    assert readers <= READERS_OF_THE_ENVIRONMENT | passing_on


def test_no_test_uses_a_mock_or_sleeps_through_a_wait() -> None:
    for path in sources("tests"):
        assert not {module for module in imports(path) if module.startswith("unittest")}, name(path)
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "sleep" and node.args:
                length = node.args[0]
                fixed = length.value if isinstance(length, ast.Constant) and isinstance(length.value, int | float) else 0
                assert not 1 <= fixed < FOREVER_S, name(path)


def test_nothing_evaluates_text() -> None:
    for path in sources(*ROOMS, "install"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec", "compile"}, name(path)


@pytest.mark.parametrize("lock", sorted(path.name for path in (ROOT / "locks").glob("*.txt") if path.name != "no-torch.txt"))
def test_every_lock_entry_has_a_hash(lock: str) -> None:
    entries = re.split(r"\n(?=\S)", (ROOT / "locks" / lock).read_text().strip())
    packages = [entry for entry in entries if not entry.startswith(("#", "-"))]
    assert packages
    assert not [entry.splitlines()[0] for entry in packages if "--hash=sha256:" not in entry or "==" not in entry]


@pytest.mark.parametrize("lock", ["engine-cpu.txt", "engine-cuda.txt", "engine-test.txt"])
def test_an_engine_lock_names_no_torch_no_cuda_library_and_no_local_version(lock: str) -> None:
    names = [line.split("==") for line in (ROOT / "locks" / lock).read_text().splitlines() if "==" in line and line[:1].isalnum()]
    assert names
    assert not [first for first, *_ in names if first in {"torch", "triton"} or first.startswith(("nvidia-", "cuda-"))]
    assert not [rest for _, *rest in names if "+" in rest[0].split(" ")[0]]


def test_the_chat_lock_holds_no_training_library() -> None:
    names = {line.split("==")[0] for line in (ROOT / "locks/chat.txt").read_text().splitlines() if "==" in line}
    assert not names & {"torch", "transformers", "peft", "olive-ai", "onnxruntime", "onnxruntime-genai"}


def test_nothing_names_a_machine_or_a_package_registry() -> None:
    """Where packages come from is the person's pip configuration; where files lie is theirs too."""
    words = [str(ROOT), str(Path.home() / "."), "pypi" + ".org", "python" + "hosted", "npm" + "js.org", "debian" + ".org"]
    words = [word for word in words if word.count("/") != 1]
    found = [
        f"{name(path)}: {word}" for path in text_files() for word in words
        if word in path.read_text(encoding="utf-8", errors="ignore")
    ]
    assert not found
