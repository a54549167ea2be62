"""A small sweep: one setting, a few values, each a run of its own; from words to plans, and the plans as one card."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import JsonValue

from policies.tool import ToolFailed
from tools.outlook import gib
from tools.runs.plan import Plan, Wish, minutes

MOST = 8
Setting = Literal["lora_r", "learning_rate", "epochs", "max_steps"]
_NAMES: Mapping[str, Setting] = {
    "r": "lora_r", "rank": "lora_r", "lora_r": "lora_r", "lr": "learning_rate", "learning_rate": "learning_rate", "epochs": "epochs",
    "steps": "max_steps", "max_steps": "max_steps",
}
_WHOLE = frozenset({"lora_r", "max_steps"})
_MOST: Mapping[Setting, float] = {"lora_r": 1024, "learning_rate": 1, "epochs": 1000, "max_steps": 1_000_000}
"""As the engine's spec has it; every setting is above zero."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """One setting and its values, in the order they were given."""

    of: Setting
    values: tuple[float, ...]

    @property
    def words(self) -> str:
        """As a card shows it."""
        return f"{self.of} {', '.join(f'{value:g}' for value in self.values)}"

    def wishes(self, wish: Wish) -> list[Wish]:
        """The wish once for each value."""
        return [replace(wish, **{self.of: value}) for value in self.values]


def as_text(value: object) -> object:
    """A sweep given as an object (`{"lora_r": [8, 16]}`) as the text it stands for; anything else unchanged."""
    if isinstance(value, Mapping):
        parts = [f"{name}={','.join(map(str, v)) if isinstance(v, list) else v}" for name, v in value.items()]
        return "; ".join(parts)
    return value


def read_sweep(text: str) -> Sweep:
    """The sweep that a text like `r=8,16,32` names. ToolFailed when it names none."""
    found = re.fullmatch(r"\s*([a-z_]+)\s*[=:]\s*(.+?)\s*", text)
    name = _NAMES.get(found.group(1)) if found else None
    if found is None or name is None:
        raise _refused("It names one setting and its values.")
    parts = [part for part in re.split(r"[,\s]+", found.group(2).strip("[]() ")) if part]
    values: list[float] = []
    for part in parts:
        try:
            value = int(part) if name in _WHOLE else float(part)
        except ValueError as error:
            raise _refused(f"{part[:20]!r} is no {name}.") from error
        if not 0 < value <= _MOST[name]:
            raise _refused(f"{part[:20]} is outside what {name} may be: above 0, at most {_MOST[name]:g}.")
        values.append(value)
    if not 2 <= len(values) <= MOST:
        raise _refused(f"It has {len(values)} values; 2 to {MOST} are possible.")
    if len(set(values)) < len(values):
        raise _refused("A value stands in it twice.")
    return Sweep(name, tuple(values))


def _refused(because: str) -> ToolFailed:
    return ToolFailed("Start a sweep", because, "Say for example sweep=r=8,16,32 or sweep=lr=0.0003,0.001.", kind="sweep")


def sweep_card(sweep: Sweep, plans: list[Plan]) -> tuple[tuple[str, str], ...]:
    """One card for all runs of a sweep: what is shared once, memory of the largest, time of all together."""
    first, largest = plans[0], max(plans, key=lambda plan: plan.memory.likely_bytes)
    low, likely, high = (sum(getattr(plan.time, name) for plan in plans) for name in ("low_s", "likely_s", "high_s"))
    told = {
        "Method": f"{first.settings.method}, {sweep.words}" + (", alpha twice r" if sweep.of == "lora_r" else "")
        + (f", learning rate {first.settings.learning_rate:g}" if sweep.of != "learning_rate" else "")
        + f", batch {first.settings.batch_size} × {first.settings.grad_accumulation}",
        "Steps": ", ".join(dict.fromkeys(f"{plan.settings.max_steps}" for plan in plans)) + " in each run",
        "Memory": f"{dict(largest.card())['Memory']} for the largest",
        "Time": f"{minutes(low)} to {minutes(high)}, likely {minutes(likely)} for all",
        "Writes": f"runs/<new run id>/ in Luthier's home for each run, about {gib(sum(plan.disk_bytes for plan in plans))} at most",
    }
    lines = [(label, told.get(label, value)) for label, value in first.card()]
    each = [(f"Run {number} of {len(plans)}", _run_line(sweep, value, plan))
            for number, (value, plan) in enumerate(zip(sweep.values, plans, strict=True), 1)]
    lines[2:2] = [("Sweep", f"{sweep.words}: {len(plans)} runs, one after the other"), *each]
    return tuple(lines)


def _run_line(sweep: Sweep, value: float, plan: Plan) -> str:
    """One run of the sweep: its value, steps, time and memory."""
    alpha = f", alpha {plan.settings.lora_alpha}" if sweep.of == "lora_r" else ""
    time = f"{minutes(plan.time.low_s)} to {minutes(plan.time.high_s)}, likely {minutes(plan.time.likely_s)}"
    return f"{sweep.of} {value:g}{alpha}; {plan.settings.max_steps} steps; {time}; memory likely {gib(plan.memory.likely_bytes)}"


def sweep_json(sweep: Sweep, plans: list[Plan]) -> dict[str, JsonValue]:
    """The plans as one: the first run's facts, the largest memory, the time of all, and each run's own plan below `sweep`."""
    whole = plans[0].as_json()
    largest = max(plans, key=lambda plan: plan.memory.likely_bytes).as_json()
    times = {name: round(sum(getattr(plan.time, name) for plan in plans)) for name in ("low_s", "likely_s", "high_s", "train_s")}
    time = whole["time"]
    assert isinstance(time, dict)
    return {**whole, "memory": largest["memory"], "time": {**time, **times}, "disk_bytes": sum(plan.disk_bytes for plan in plans),
            "sweep": {"of": sweep.of, "values": list(sweep.values), "plans": [plan.as_json() for plan in plans]}}


def members(plan: Mapping[str, JsonValue], sweep_id: str) -> list[dict[str, JsonValue]]:
    """Each run's plan out of an approved one: the plan itself, or those of its sweep with the sweep's id and their value."""
    sweep = plan.get("sweep")
    if not isinstance(sweep, Mapping):
        return [dict(plan)]
    plans, values = sweep.get("plans"), sweep.get("values")
    if not isinstance(plans, list) or not isinstance(values, list):
        return [dict(plan)]
    return [
        {**dict(each), "sweep": {"id": sweep_id, "of": sweep.get("of"), "value": value, "index": number, "count": len(plans)}}
        for number, (each, value) in enumerate(zip(plans, values, strict=True), 1) if isinstance(each, Mapping)
    ]
