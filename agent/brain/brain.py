"""A chosen brain: the model, what the badge says of it, and how it must be handled."""

from dataclasses import dataclass

from langchain_core.language_models import BaseChatModel

COMMAND_NOTE = (
    "Running with the built-in command assistant. It understands requests about hardware, models, data, cost, runs and deployments, "
    "and asks when unsure. Set LUTHIER_BRAIN to a hosted or an Ollama model for free conversation and multi-step plans."
)


@dataclass(frozen=True)
class Brain:
    """Which model thinks."""

    model: BaseChatModel
    name: str
    """What the badge shows: `command assistant`, or provider and model."""
    note: str = ""
    hosted: bool = False
    """A language model: its arguments are checked for grounding, and the command assistant stands in when it fails."""
    problem: str = ""
    """Why the brain that LUTHIER_BRAIN names could not be used; the command assistant answers instead."""


@dataclass(frozen=True, slots=True)
class Badge:
    """What every face shows about who is speaking and who may approve."""

    brain: str
    solo: bool
    note: str
