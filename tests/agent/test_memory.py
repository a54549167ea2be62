"""The conversation's store is opened strictly or not at all."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from agent.memory import open_memory, require_strict

ROOT = Path(__file__).resolve().parents[2]
LATE = "import langgraph.graph, os; os.environ['LANGGRAPH_STRICT_MSGPACK'] = 'true'; import agent.memory; agent.memory.require_strict()"
NEVER = "import agent.memory; agent.memory.require_strict()"


@pytest.mark.parametrize("program", [NEVER, LATE], ids=["not set", "set after the first import"])
def test_without_strict_reading_it_refuses_to_start(program: str) -> None:
    clean = {name: value for name, value in os.environ.items() if name != "LANGGRAPH_STRICT_MSGPACK"}
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=clean, capture_output=True, text=True)
    assert ended.returncode != 0
    assert "LANGGRAPH_STRICT_MSGPACK" in ended.stderr and "python -m ui" in ended.stderr


async def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    require_strict()
    memory = await open_memory(tmp_path / "memory.sqlite")
    await memory.conn.close()
    assert stat.S_IMODE((tmp_path / "memory.sqlite").stat().st_mode) == 0o600
