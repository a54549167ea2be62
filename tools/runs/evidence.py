"""What became of a run: a pure decision from what can be seen of it, as one table that the documents are written from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from pydantic import JsonValue

from tools.outlook import gib
from tools.runs.identity import LockState
from tools.runs.logs import clean_line
from tools.runs.state import RunState

START_S = 20.0
"""Seconds a run that was sent off may be without its lock before it counts as not started."""
FRESH_S = 60.0
"""A heartbeat younger than this, written on another machine, is a sign of life."""

EngineKind = Literal[
    "oom", "gpu_oom", "gpu_lost", "disk", "data", "diverged", "changed", "foreign", "missing", "model", "bug", "no_adapter", "export",
]
"""What the engine itself may give as the kind of a failure."""
Kind = Literal[
    EngineKind, "", "start", "killed", "crashed", "deadline", "person", "reboot", "moved", "gone", "another_home",
    "infra", "quota", "cap", "unreachable", "expiry",
]
_ENGINE: Mapping[str, Kind] = {kind: kind for kind in get_args(EngineKind)}


@dataclass(frozen=True, slots=True)
class Facts:
    """What can be seen of one attempt."""

    folder: bool = True
    ours: bool = True
    """The folder does not bear the mark of another home."""
    waiting: bool = False
    """In the queue of this machine, or taken from it by a process that died before it could start the run."""
    preparer_gone: bool = False
    """In the queue, not ready, and whoever prepared it is gone."""
    lock: LockState = "free"
    runner_alive: bool = False
    """The process named in runner.json still runs."""
    same_boot: bool = True
    same_machine: bool = True
    heartbeat_age_s: float | None = None
    started: bool = False
    """The engine has written started.json or an event."""
    result: Mapping[str, Any] | None = None
    exit: Mapping[str, Any] | None = None
    stop_asked: bool = False
    stop_by: str = ""
    """Who asked for the stop; empty where that was not written down."""
    oom_killed: bool = False
    """The kernel killed something in our control group since the attempt began."""
    waited_s: float = 0.0
    """Seconds since the attempt was sent off."""
    owner: str = ""
    predicted_bytes: int | None = None
    peak_bytes: int | None = None
    settings: Mapping[str, JsonValue] = field(default_factory=dict)

    def seen(self) -> dict[str, JsonValue]:
        """What was seen, as the book keeps it beside an end: short and without any text of the run's own."""
        plain = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in {"result", "exit", "settings", "owner"}}
        out: dict[str, JsonValue] = {k: v for k, v in plain.items() if v != Facts.__dataclass_fields__[k].default}
        out["lock"] = self.lock
        if self.result is not None:
            out["result"] = {k: v for k in ("outcome", "error_kind", "step", "steps") if isinstance(v := self.result.get(k), int | str)}
        if self.exit is not None:
            keys = ("rc", "signal", "stop", "oom_kills", "killed_by_runner", "seconds", "max_rss_bytes")
            out["exit"] = {k: v for k in keys if isinstance(v := self.exit.get(k), int | float | str)}
        return out


@dataclass(frozen=True, slots=True)
class Finding:
    """The state a run is in, with its reason as a class and as a sentence."""

    state: RunState
    kind: Kind = ""
    reason: str = ""


WORDS: dict[Kind, str] = {
    "oom": "It ran out of memory. Resume it with nothing else running, or start again with a smaller batch or shorter rows.",
    "disk": "The disk is full. Free some space, then resume it.",
    "start": "The training process never started. Look at its log, and run `python -m ui doctor`.",
    "killed": "Its processes were killed from outside. Resume it from its last checkpoint.",
    "crashed": "The engine ended without a result. Look at its log, then resume it.",
    "deadline": "It reached the time limit of its plan and was stopped. Resume it to go on.",
    "person": "Stopped by its owner. Its last checkpoint is kept.",
    "reboot": "The machine was restarted under it. Resume it from its last checkpoint.",
    "moved": "It ran on another machine and its folder was copied here. Resume it here from its last checkpoint.",
    "gone": "Its folder is missing below Luthier's home.",
    "another_home": "The folder with its name was made by another Luthier home, and is left alone. Put its own folder back.",
}
"""What a person reads for each kind that the engine did not explain itself."""


def memory_words(facts: Facts) -> str:
    """An end for want of memory: measured and predicted peak, and the setting to change."""
    figures = []
    if facts.peak_bytes:
        figures.append(f"it held {gib(facts.peak_bytes)} at the most")
    if facts.predicted_bytes:
        figures.append(f"{gib(facts.predicted_bytes)} were predicted")
    said = f"It ran out of memory{': ' + ', '.join(figures) if figures else ''}."
    return f"{said} Resume it with nothing else running, or {less_memory(facts.settings)}."


def less_memory(settings: Mapping[str, JsonValue]) -> str:
    """The first setting to change so that a run needs less memory, the cheapest in time first. Pure."""
    batch, length = settings.get("batch_size"), settings.get("max_length")
    if settings.get("gradient_checkpointing") is False:
        return "start again with gradient_checkpointing on (a step takes a third longer)"
    if isinstance(batch, int) and batch > 1:
        return f"start again with batch_size {batch // 2} in place of {batch}"
    if isinstance(length, int) and length > 128:
        return f"start again with max_length {length // 2} in place of {length}, which leaves longer rows out"
    return "start again with a smaller batch, shorter rows or a smaller model"


def stopped_words(facts: Facts) -> str:
    """Who stopped it."""
    if facts.stop_by == "system":
        return "Stopped by a standing order that came with its approval. Its last checkpoint is kept."
    if facts.stop_by and facts.stop_by != facts.owner:
        return f"Stopped by {clean_line(facts.stop_by)[:80]}. Its last checkpoint is kept."
    return WORDS["person"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table: what is seen, and what it means."""

    seen: str
    holds: Callable[[Facts], bool]
    state: RunState
    kind: Kind = ""
    says: Callable[[Facts], str] | None = None
    """The reason, where it is more than the words of the kind."""
    kind_of: Callable[[Facts], Kind] | None = None
    """The kind, where the evidence names it."""

    def finding(self, facts: Facts) -> Finding:
        """The state with its reason."""
        kind = self.kind_of(facts) if self.kind_of else self.kind
        return Finding(self.state, kind, self.says(facts) if self.says else WORDS.get(kind, ""))


def _result(facts: Facts, *outcomes: str) -> bool:
    return facts.result is not None and facts.result.get("outcome") in outcomes


def _exit(facts: Facts, key: str) -> Any:
    return (facts.exit or {}).get(key)


def engine_kind(said: Any, otherwise: Kind = "bug") -> Kind:
    """A word as the kind that it is, if the engine may give it; anything else never becomes one."""
    known: Kind | None = _ENGINE.get(said) if isinstance(said, str) else None
    return otherwise if known is None else known


def _engine_kind(facts: Facts) -> Kind:
    return engine_kind((facts.result or {}).get("error_kind"))


def _engine_words(facts: Facts) -> str:
    kind = _engine_kind(facts)
    said = clean_line(str((facts.result or {}).get("message", "")).replace("\n", " "))[:400]
    known = memory_words(facts) if kind == "oom" and not said else WORDS.get(kind, "")
    return said or known or "The engine gave no reason. Look at its log."


def _problem(facts: Facts) -> str:
    return f"{clean_line(str(_exit(facts, 'problem')))[:200]}. {WORDS['start']}"


def _status(facts: Facts) -> str:
    signal = _exit(facts, "signal")
    status = f"signal {signal}" if signal else f"status {_exit(facts, 'rc')}"
    return f"It ended with {clean_line(status)[:40]} and no result. {WORDS['crashed']}"


def _lives(facts: Facts) -> bool:
    return facts.lock == "held" or (facts.lock == "free" and facts.runner_alive)


def _alive_elsewhere(facts: Facts) -> bool:
    return not facts.same_machine and facts.heartbeat_age_s is not None and facts.heartbeat_age_s < FRESH_S


def _under_way(facts: Facts) -> bool:
    return facts.lock == "absent" and (facts.runner_alive or (facts.waited_s < START_S and not facts.stop_asked))


def _killed_for_memory(facts: Facts) -> bool:
    return bool(_exit(facts, "oom_kills")) and _exit(facts, "signal") == 9 and not _exit(facts, "killed_by_runner")


def _by_deadline(facts: Facts) -> bool:
    return _exit(facts, "stop") == "deadline"


def _stopped(facts: Facts) -> bool:
    return facts.exit is not None and bool(_exit(facts, "rc") == 75 or _exit(facts, "stop") or facts.stop_asked)


_S = RunState
RULES: tuple[Rule, ...] = (
    Rule("its folder is missing", lambda f: not f.folder, _S.LOST, "gone"),
    Rule("its folder bears the mark of another home", lambda f: not f.ours, _S.LOST, "another_home"),
    Rule("it waits in the queue, a stop was asked for", lambda f: f.waiting and f.stop_asked, _S.CANCELLED, "person", stopped_words),
    Rule("it waits, and whoever prepared it has died before it was ready", lambda f: f.waiting and f.preparer_gone, _S.FAILED, "start"),
    Rule("it waits in the queue", lambda f: f.waiting, _S.QUEUED),
    Rule("the lock is held or the runner lives, the engine has reported", lambda f: _lives(f) and f.started, _S.RUNNING),
    Rule("the lock is held or the runner lives", _lives, _S.QUEUED),
    Rule("another machine's heartbeat is fresh", _alive_elsewhere, _S.RUNNING),
    Rule("no lock yet, sent off a moment ago", _under_way, _S.QUEUED),
    Rule("no lock, a stop was asked for", lambda f: f.lock == "absent" and f.stop_asked, _S.CANCELLED, "person", stopped_words),
    Rule(f"no lock after {START_S:.0f} s", lambda f: f.lock == "absent", _S.FAILED, "start"),
    Rule("`result.json` says finished", lambda f: _result(f, "finished"), _S.FINISHED),
    Rule("`result.json` says cancelled, `exit.json` names the time limit", lambda f: _result(f, "cancelled") and _by_deadline(f),
         _S.CANCELLED, "deadline"),
    Rule("`result.json` says cancelled", lambda f: _result(f, "cancelled"), _S.CANCELLED, "person", stopped_words),
    Rule("`result.json` says failed, or nothing that is known", lambda f: f.result is not None, _S.FAILED, "bug", _engine_words,
         _engine_kind),
    Rule("`exit.json` names a full disk", lambda f: bool(_exit(f, "problem")) and _exit(f, "errno") in {28, 122}, _S.FAILED, "disk"),
    Rule("`exit.json` says that the engine could not be started", lambda f: bool(_exit(f, "problem")), _S.FAILED, "start", _problem),
    Rule("`exit.json`: signal 9 that was not the runner's, and the kernel counted a kill for want of memory",
         _killed_for_memory, _S.FAILED, "oom", memory_words),
    Rule("`exit.json`: stopped at the time limit", lambda f: _stopped(f) and _by_deadline(f), _S.CANCELLED, "deadline"),
    Rule("`exit.json`: status 75, or a stop was asked for", _stopped, _S.CANCELLED, "person", stopped_words),
    Rule("`exit.json`: signal 9", lambda f: _exit(f, "signal") == 9, _S.FAILED, "killed"),
    Rule("`exit.json`: any other status", lambda f: f.exit is not None, _S.FAILED, "crashed", _status),
    Rule("lock free, no `exit.json`, another machine's id", lambda f: not f.same_machine, _S.INTERRUPTED, "moved"),
    Rule("lock free, no `exit.json`, another boot id", lambda f: not f.same_boot, _S.INTERRUPTED, "reboot"),
    Rule("lock free, no `exit.json`, the kernel counted a kill for want of memory", lambda f: f.oom_killed, _S.FAILED, "oom", memory_words),
    Rule("lock free, no `exit.json`, a stop was asked for", lambda f: f.stop_asked, _S.CANCELLED, "person", stopped_words),
    Rule("lock free, no `exit.json`", lambda f: True, _S.FAILED, "killed"),
)
"""The first row that holds decides: in order of truth the lock, result.json, exit.json, machine and boot, the kernel's kills."""


def what_happened(facts: Facts) -> Finding:
    """The state that the facts show, by the first row of `RULES` that holds. Pure."""
    return next(rule for rule in RULES if rule.holds(facts)).finding(facts)
