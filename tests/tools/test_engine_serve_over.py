"""A serving program whose time is over refuses everybody and never loads a model again."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.tools.fakes_runs import ROOT, wait_until
from tests.tools.fakes_serve import KEY, Program
from tools.engine.serve_over import ends_at

HEADERS = {"Authorization": f"Bearer {KEY}"}
SCRIPT = ROOT / "tools" / "engine" / "serve_over.py"


def asked(port: int, method: str = "GET", path: str = "/v1/models") -> int:
    """The status of an answer; 0 while nobody answers."""
    try:
        with httpx.Client(trust_env=False, timeout=10) as client:
            return client.request(method, f"http://127.0.0.1:{port}{path}", headers=HEADERS, content=b"x" * 10_000).status_code
    except httpx.HTTPError:
        return 0


@pytest.fixture
def over(tmp_path: Path) -> Iterator[int]:
    """The port of a container that was started after its time."""
    (tmp_path / "serve.json").write_text(json.dumps({"until": time.time() - 1}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-S", str(SCRIPT), str(tmp_path), "--port", str(port), "--", str(tmp_path / "there-is-no-such-script.py")]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_until(lambda: asked(port) != 0 or child.poll() is not None, "it to answer")
    yield port
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == 0


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_one_that_was_started_after_its_time_says_so_to_everybody(over: int, method: str) -> None:
    assert asked(over, method) == 410


def test_it_says_so_in_openais_words_and_is_well(over: int) -> None:
    with httpx.Client(trust_env=False, timeout=10) as client:
        told = client.post(f"http://127.0.0.1:{over}/v1/chat/completions", json={}).json()
    assert told["error"]["code"] == "expired" and "redeploy" in told["error"]["message"]
    assert asked(over, path="/healthz") == 200, "a startup probe that fails would start it again and again"


def test_one_in_time_is_begun(tmp_path: Path) -> None:
    (tmp_path / "serve.json").write_text(json.dumps({"until": time.time() + 3600}))
    (tmp_path / "script.py").write_text("import sys; print(sys.argv[1:])")
    said = subprocess.run([sys.executable, str(SCRIPT), str(tmp_path), "--port", "0", "--", str(tmp_path / "script.py"), "a", "--", "b"],
                          capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.strip() == "['a', '--', 'b']"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"until": "soon"}', '{"until": null}', "{}"])
def test_a_spec_that_cannot_be_read_is_the_servers_own_to_refuse(tmp_path: Path, text: str) -> None:
    (tmp_path / "serve.json").write_text(text)
    assert ends_at(tmp_path) == 0


@pytest.mark.engine
def test_one_whose_time_ends_while_it_answers_refuses_from_then_on_and_ends_when_it_is_told_to(tmp_path: Path) -> None:
    program = Program(tmp_path / "serving", until=time.time() + 3600).start()
    try:
        port = program.port
        assert asked(port) == 200 and program.child is not None
        program.child.send_signal(signal.SIGALRM)  # as its own clock does at that moment
        wait_until(lambda: asked(port) == 410, "it to refuse")
        assert asked(port, path="/healthz") == 200
        assert program.end() == 0
    finally:
        program.close()
