"""What must hold before chainlit and langgraph are imported."""

import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from policies.tool import ToolFailed
from tests.ui.served import ROOT
from ui.signin import session_key
from ui.stage import TRIGGERS, set_process_variables, set_the_stage


def test_names_that_switch_on_foreign_handlers_are_taken_out_and_safe_ones_set():
    env = {"SLACK_BOT_TOKEN": "x", "DATABASE_URL": "x", "LITERAL_API_KEY": "x", "BUCKET_NAME": "x", "HOME": "/h"}
    set_process_variables(env)
    assert not set(env) & set(TRIGGERS) and env["HOME"] == "/h"
    assert env["LANGGRAPH_STRICT_MSGPACK"] == "true" and env["LANGSMITH_TRACING"] == "false"


def test_the_stage_lies_in_the_home_and_is_fresh_at_every_start(tmp_path: Path):
    env: dict[str, str] = {}
    web = set_the_stage(ROOT, tmp_path, env)
    (web / ".files").mkdir()
    assert set_the_stage(ROOT, tmp_path, env) == web and not (web / ".files").exists()
    assert (web / "chainlit.md").read_text() == (ROOT / "chainlit.md").read_text()
    assert env["CHAINLIT_APP_ROOT"] == str(web) and len(env["CHAINLIT_AUTH_SECRET"]) == 64


def test_the_session_key_is_made_once_and_a_short_one_is_refused(tmp_path: Path):
    key = session_key(tmp_path)
    path = tmp_path / "keys" / "session.key"
    assert session_key(tmp_path) == key and stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("")
    with pytest.raises(ToolFailed, match="Delete that file"):
        session_key(tmp_path)


def test_the_chats_settings_are_the_safe_ones():
    config = tomllib.loads((ROOT / ".chainlit" / "config.toml").read_text())
    features, project = config["features"], config["project"]
    assert project["allow_origins"] == [] and project["user_session_timeout"] <= 8 * 3600
    assert not features["unsafe_allow_html"] and not features["edit_message"] and not features["auto_tag_thread"]
    assert not features["allow_thread_sharing"] and not features["mcp"]["enabled"] and not features["mcp"]["user_servers"]["enabled"]
    upload = features["spontaneous_file_upload"]
    assert upload["max_size_mb"] <= 10 and "*/*" not in upload["accept"] and all(upload["accept"].values())
    assert config["UI"]["cot"] == "tool_call"


def test_starting_imports_nothing_of_ours_before_the_variables_are_set():
    program = (
        "import sys, os, ui.__main__\n"
        "assert not [m for m in sys.modules if m.split('.')[0] in ('agent', 'policies', 'tools', 'chainlit', 'langgraph')], sys.modules\n"
        "sys.platform = 'win32'\n"
        "sys.exit(ui.__main__.main())"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "WSL 2" in done.stderr
