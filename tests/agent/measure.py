"""Measures the command assistant on requests it has not learned from."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.messages import HumanMessage

from agent.brain.cloud_words import CLOUD_WORDS
from agent.brain.deployments import DEPLOYMENT_WORDS
from agent.brain.embedded import EmbeddedBrain
from agent.brain.intents import INTENTS
from agent.brain.moves import Do

FILE = Path(__file__).parent / "requests.toml"
KNOWN = (*(name for name in INTENTS if name != "compare_runs"), "withdraw_proposal", *CLOUD_WORDS, *DEPLOYMENT_WORDS)
TOOLS = [{"function": {"name": name}} for name in KNOWN]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the assistant made of one request."""

    say: str
    wanted: str
    did: str
    """The tool it would end in; empty when it spoke."""
    args: Mapping[str, Any]
    right: bool
    exact: bool
    offered: bool
    """It asked, and the right thing was among the choices or was what it asked about."""

    @property
    def wrong_action(self) -> bool:
        """It called something else than what was wanted."""
        return bool(self.did) and not self.right

    @property
    def wrong_effect(self) -> bool:
        """The same, with a tool that does more than look."""
        return self.wrong_action and not (self.did in INTENTS and INTENTS[self.did].reads)


def measure(brain: EmbeddedBrain, group: str) -> list[Outcome]:
    """Every request of a group, each in a conversation of its own."""
    found = []
    for case in tomllib.loads(FILE.read_text("utf-8"))[group]:
        move = brain.decide([HumanMessage(case["say"])], TOOLS)
        did, args = (move.then[-1] if move.then else (move.tool, move.args)) if isinstance(move, Do) else ("", {})
        offered = False
        if not isinstance(move, Do) and case["tool"]:
            label = INTENTS[case["tool"]].label if case["tool"] in INTENTS else ""
            offered = any(each[0] == label for each in move.choices) or move.asks is not None
        right = did == case["tool"]
        found.append(Outcome(case["say"], case["tool"], did, args, right, right and dict(args) == case["args"], offered))
    return found


def all_requests() -> list[str]:
    """Every request of the file."""
    return [case["say"] for group in tomllib.loads(FILE.read_text("utf-8")).values() for case in group]
