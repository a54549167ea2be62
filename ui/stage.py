"""Chainlit's working folder: made fresh in the home at every start, so that the project's own folder is never written."""

import os
import shutil
from collections.abc import MutableMapping
from pathlib import Path

from ui.signin import COOKIE, session_key

TRIGGERS = (
    "DATABASE_URL", "LITERAL_API_KEY", "BUCKET_NAME", "SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "SLACK_WEBSOCKET_TOKEN", "TEAMS_APP_ID",
    "TEAMS_APP_PASSWORD", "DISCORD_BOT_TOKEN", "CHAINLIT_CUSTOM_AUTH", "CHAINLIT_ROOT_PATH", "CHAINLIT_PARENT_ROOT_PATH", "CHAINLIT_URL",
    "CHAINLIT_DEBUG", "CHAINLIT_COOKIE_SAMESITE",
)
"""Names that switch on handlers or change the behaviour of Chainlit just by being set."""


def set_process_variables(env: MutableMapping[str, str]) -> None:
    """What must hold before the first import of langgraph, langchain or chainlit."""
    for name in TRIGGERS:
        env.pop(name, None)
    env["LANGGRAPH_STRICT_MSGPACK"] = "true"
    env["LANGSMITH_TRACING"] = "false"
    env["LANGCHAIN_TRACING_V2"] = "false"
    env["CHAINLIT_ENV_FILE"] = ".luthier-reads-no-env-file"
    env["CHAINLIT_AUTH_COOKIE_NAME"] = COOKIE


def set_the_stage(root: Path, home: Path, env: MutableMapping[str, str]) -> Path:
    """Lay out `home/web` and point Chainlit at it. Call it under the home's lock, before chainlit is imported."""
    web = home / "web"
    shutil.rmtree(web, ignore_errors=True)
    (web / ".chainlit").mkdir(parents=True, mode=0o700)
    os.symlink(root / ".chainlit" / "config.toml", web / ".chainlit" / "config.toml")
    os.symlink(root / "public", web / "public")
    os.symlink(root / "chainlit.md", web / "chainlit.md")
    env["CHAINLIT_APP_ROOT"] = str(web)
    env["CHAINLIT_AUTH_SECRET"] = session_key(home)
    return web
