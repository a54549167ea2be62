"""Chooses the brain: the one that LUTHIER_BRAIN names when it can be had, else the command assistant, and says which and why."""

import importlib.util
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import BaseChatModel

from agent.brain.brain import COMMAND_NOTE, Brain
from agent.brain.embedded import EmbeddedBrain
from agent.secrets import SecretStore
from agent.settings import Settings
from policies.tool import ToolFailed

REQUEST_S = 60.0
COMMAND_NAME = "command assistant"


@dataclass(frozen=True, slots=True)
class Provider:
    """What one provider needs."""

    package: str
    extra: str
    key: str | None
    """The secret's name, the same as the provider's own variable; None when it needs none."""
    build: Callable[[str, Settings, str | None], dict[str, Any]]


def choose_brain(settings: Settings, secrets: SecretStore, *, request_s: float = REQUEST_S) -> Brain:
    """The brain of this process. A named one that cannot be had is said in `problem`, and the command assistant takes its place."""
    if not settings.brain:
        return Brain(EmbeddedBrain(), COMMAND_NAME, COMMAND_NOTE)
    try:
        model = build_model(settings, secrets, request_s=request_s)
    except ToolFailed as failed:
        problem = f"{settings.brain} is not used: {failed.because} {failed.try_next}"
        return Brain(EmbeddedBrain(), COMMAND_NAME, COMMAND_NOTE, problem=problem)
    return Brain(
        model, settings.brain, hosted=True, note="What you say goes to this model. Its arguments are checked before they are used."
    )


def build_model(settings: Settings, secrets: SecretStore, *, request_s: float = REQUEST_S) -> BaseChatModel:
    """The chat model that LUTHIER_BRAIN names, with its key. Raises ToolFailed when the package, key or address is missing."""
    name, _, model = settings.brain.partition(":")
    provider = PROVIDERS[name]
    if importlib.util.find_spec(provider.package) is None:
        raise ToolFailed(
            "The brain cannot be used",
            f"the package {provider.package.replace('_', '-')} is not installed.",
            f"Install it with `.venv/bin/pip install '.[{provider.extra}]'` and start again.",
            kind="package",
        )
    key = None
    if provider.key is not None:
        found = settings.provider.get(provider.key)
        key = secrets.get(provider.key) or (found.get_secret_value() if found else None)
        if not key:
            raise ToolFailed(
                "The brain cannot be used",
                f"no key was found for {name}.",
                f"Store it with `python -m ui secret set {provider.key}` and start again.",
                kind="key",
            )
    from langchain.chat_models import init_chat_model

    try:
        return init_chat_model(model, model_provider=name, **provider.build(model, settings, key), **_limits(name, request_s))
    except ToolFailed:
        raise
    except Exception as error:  # a provider's package raises classes of its own at construction
        raise ToolFailed(
            "The brain cannot be used",
            f"{provider.package} refused the settings ({type(error).__name__}).",
            "Check LUTHIER_BRAIN and the provider's own variables.",
            kind="settings",
        ) from None


def offers(settings: Settings, secrets: SecretStore, *, ollama: tuple[str, int] = ("127.0.0.1", 11434)) -> tuple[str, ...]:
    """Brains that could be had and were not asked for: offered in words, never taken."""
    if settings.brain:
        return ()
    found = [
        f"A key for {name} is here: LUTHIER_BRAIN={name}:MODEL would use it."
        for name, provider in PROVIDERS.items()
        if provider.key and (settings.provider.get(provider.key) or secrets.get(provider.key))
    ]
    try:
        with socket.create_connection(ollama, timeout=0.2):
            found.append("Ollama answers on this machine: LUTHIER_BRAIN=ollama:MODEL would use it, with a model that can call tools.")
    except OSError:
        pass
    return tuple(found)


def _limits(name: str, request_s: float) -> dict[str, Any]:
    if name == "ollama":
        return {"client_kwargs": {"timeout": request_s}}
    return {"timeout": request_s, "max_retries": 1}


def _value(settings: Settings, name: str) -> str | None:
    found = settings.provider.get(name)
    return found.get_secret_value() if found else None


def _openai(model: str, settings: Settings, key: str | None) -> dict[str, Any]:
    base = _value(settings, "OPENAI_BASE_URL")
    return {"api_key": key} | ({"base_url": base} if base else {})


def _azure(model: str, settings: Settings, key: str | None) -> dict[str, Any]:
    endpoint = _value(settings, "AZURE_OPENAI_ENDPOINT")
    if not endpoint:
        raise ToolFailed(
            "The brain cannot be used",
            "AZURE_OPENAI_ENDPOINT is not set.",
            "Set it to https://NAME.openai.azure.com and start again.",
            kind="settings",
        )
    return {
        "api_key": key,
        "azure_endpoint": endpoint,
        "azure_deployment": model,
        "api_version": _value(settings, "OPENAI_API_VERSION") or "2024-10-21",
    }


def _anthropic(model: str, settings: Settings, key: str | None) -> dict[str, Any]:
    base = _value(settings, "ANTHROPIC_BASE_URL")
    return {"api_key": key, "max_tokens": 4096} | ({"base_url": base} if base else {})


def _ollama(model: str, settings: Settings, key: str | None) -> dict[str, Any]:
    base = _value(settings, "OLLAMA_HOST")
    return {"base_url": base if "://" in base else f"http://{base}"} if base else {}


PROVIDERS = {
    "openai": Provider("langchain_openai", "openai", "OPENAI_API_KEY", _openai),
    "azure_openai": Provider("langchain_openai", "openai", "AZURE_OPENAI_API_KEY", _azure),
    "anthropic": Provider("langchain_anthropic", "anthropic", "ANTHROPIC_API_KEY", _anthropic),
    "ollama": Provider("langchain_ollama", "ollama", None, _ollama),
}
