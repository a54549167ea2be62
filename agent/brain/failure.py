"""Says why a hosted model did not answer, from its error's class and status; the error's own text may hold a key and is not repeated."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BrainFailure:
    """What was found and what to do."""

    kind: str
    """key, model, limit, timeout, unreachable, refused or unknown."""
    because: str
    try_next: str


def explain(error: BaseException) -> BrainFailure:
    """Sort the errors of all providers by what a person can do about them."""
    status = _status(error)
    names = {each.__name__.lower() for each in type(error).__mro__}
    if status in (401, 403):
        return BrainFailure(
            "key",
            f"it refused the key (HTTP {status}).",
            "Store the right one with `python -m ui secret set NAME` and start Luthier again.",
        )
    if status == 404:
        return BrainFailure(
            "model", "it does not know the model (HTTP 404).", "Check the name in LUTHIER_BRAIN; for Ollama, pull the model first."
        )
    if status == 429:
        return BrainFailure("limit", "its limit or your quota is reached (HTTP 429).", "Wait a little, or check the account's plan.")
    if isinstance(error, TimeoutError) or any("timeout" in name for name in names):
        return BrainFailure(
            "timeout", "no answer came in time.", "Ask again; if it stays so, check the network or the provider's status page."
        )
    if isinstance(error, ConnectionError) or any("connect" in name for name in names):
        return BrainFailure(
            "unreachable", "it cannot be reached.", "Check the network and the address; for Ollama, start it with `ollama serve`."
        )
    if status is not None and 400 <= status < 500:
        return BrainFailure(
            "refused", f"it refused the request (HTTP {status}).", "Choose a model that can call tools, or start a new chat."
        )
    return BrainFailure("unknown", f"it failed ({type(error).__name__}).", "Ask again; `python -m ui doctor` shows the settings.")


def _status(error: BaseException) -> int | None:
    for holder in (error, getattr(error, "response", None)):
        for name in ("status_code", "status"):
            value = getattr(holder, name, None)
            if isinstance(value, int) and not isinstance(value, bool) and value >= 100:
                return value
    return None
