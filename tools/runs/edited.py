"""Whether the settings in a run folder are still those that the book approved."""

from collections.abc import Mapping

from pydantic import JsonValue

from tools.engine.spec import TrainSpec

_ABSENT = object()


def edited(kept: Mapping[str, JsonValue], found: TrainSpec) -> list[str]:
    """What differs, each as `learning_rate was 0.001, is 0.01`; empty when nothing does, or the book kept no spec. Pure.

    A field that a later version added has its default in an older run and is no difference.
    """
    if not kept:
        return []
    now = found.model_dump(mode="json")
    defaults = {name: field.default for name, field in TrainSpec.model_fields.items()}
    differs = []
    for name, value in now.items():
        was = kept.get(name, defaults.get(name, _ABSENT))
        if was != value and not (name in {"report_to"} and not was and not value):
            differs.append(f"{name} was {_short(was)}, is {_short(value)}")
    return differs


def _short(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else f"{text[:20]}…"
