"""A request as a plan: which tools, with which arguments, or what is still missing."""

import re
from collections.abc import Mapping
from typing import Any

from agent.brain.blanks import of_deployment
from agent.brain.intents import DEFAULT_DATA
from agent.brain.moves import Asks, Do, Move, Say, Step
from agent.brain.place import Place, read_place
from agent.brain.questions import SERVED, Question, find_prompt
from agent.brain.slots import Slots

_SPANS = ((r"\btoday\b|\bheute\b", "today"), (r"\bweek\b|\bwoche\b", "7d"), (r"\byear\b|\bjahr\b|\bever\b", "365d"))
_REST = re.compile(r"\bsweep\b|\bthe (?:rest|others)\b", re.IGNORECASE)
_ESTIMATED = frozenset({"epochs", "max_steps", "method", "provider", "gpu", "region"})
_WHICH_DATA = "Which dataset? Name a file below an allowed folder, drop one into the chat, or take the sample."


def plan(intent: str, text: str, slots: Slots, question: Question | None = None) -> Move:
    """What a request comes to. Optional arguments are given only where the person named them."""
    match intent:
        case "start_finetune":
            return _start(text, slots)
        case "validate_dataset" | "preview_dataset":
            if slots.dataset is None:
                return _which_data(text)
            extra = {"rows": slots.rows} if intent == "preview_dataset" else {}
            return Do(intent, _given(path=slots.dataset, model=slots.model, **extra))
        case "estimate_cost":
            if slots.dataset is None:
                return _which_data(text)
            return Do(intent, {"model": slots.model or "bundled", "dataset": slots.dataset, **_told(slots.settings, read_place(text))})
        case "add_dataset":
            if slots.path is None:
                return Say(
                    "Which file? Give its whole path, such as /home/me/tickets.jsonl, or drop it into the chat.", asks=Asks("path", text)
                )
            return Do(intent, _given(path=slots.path, name=slots.settings.get("name")))
        case "recommend_model":
            return Do(intent, _given(task=slots.task, max_vram_gb=slots.max_vram_gb, license=slots.license, dataset=slots.dataset))
        case "list_models":
            return Do(intent, _given(task=slots.task))
        case "list_runs":
            return Do(intent, _given(status=slots.status))
        case "run_status":
            return Do(intent, _given(run_id=_run(slots)))
        case "resume_run":
            return Do(intent, _given(run_id=_run(slots), provider=read_place(text).provider or None))
        case "cancel_run":
            return Do(intent, _given(run_id=_run(slots), whole_sweep=True if _REST.search(text) else None))
        case "tail_logs":
            return Do(intent, _given(run_id=_run(slots), lines=slots.lines))
        case "compare_runs":
            return Do(intent, {"run_ids": list(slots.runs)})
        case "evaluate_model":
            return Do(intent, _given(run_id=_run(slots), dataset=slots.dataset))
        case "export_model":
            if slots.format is None:
                data = (("ONNX, ready to answer", "Export the model as onnx"), ("The adapter alone", "Export the adapter"))
                return Say(
                    "In which format? ONNX has the whole tuned model, ready to answer; the adapter is what training made.",
                    data,
                    Asks("format", text),
                )
            return Do(intent, _given(run_id=_run(slots), format=slots.format))
        case "spend_report":
            return Do(intent, _given(since=next((span for word, span in _SPANS if re.search(word, text, re.IGNORECASE)), None)))
        case "ask_model":
            return _ask(text, slots, question or find_prompt(text))
        case _:
            return Do(intent)


def _start(text: str, slots: Slots) -> Move:
    if slots.dataset is None:
        return _which_data(text)
    model, settings, place = slots.model or "bundled", dict(slots.settings), read_place(text)
    if slots.settings.get("name") in ("the", "a", "it"):
        settings.pop("name")
    settings |= place.args("provider", "gpu", "region", "budget_usd")
    told = _told(settings, place)
    check: Step = ("validate_dataset", _given(path=slots.dataset, model=slots.model if slots.model != "bundled" else None))
    estimate: Step = ("estimate_cost", {"model": model, "dataset": slots.dataset, **told})
    start: Step = ("start_finetune", {"model": model, "dataset": slots.dataset, **settings})
    if place.provider == "azure":
        words = "I check the data and ask Azure for its quota and prices; then the plan comes on a card, with a ceiling in money."
        return Do(*check, words, (start,) if "sweep" in settings else (estimate, start))
    if "sweep" in settings:  # an estimate of one run would say nothing of them together; their plan does
        return Do("inspect_hardware", {}, "I look at the machine and check the data; then the plan of all runs comes on one card.",
                  (check, start))
    return Do("inspect_hardware", {}, "I look at the machine, check the data and estimate; then the plan comes on a card.",
              (check, estimate, start))


def _told(settings: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """What an estimate is given of a run's settings and place."""
    kept = {name: value for name, value in settings.items() if name in _ESTIMATED}
    return kept | dict(place.args("provider", "gpu", "region"))


def which_values(text: str, of: str) -> Say:
    """The question back where a sweep was asked for without its values."""
    what, example = _EXAMPLES.get(of, ("", "r 8, 16 and 32"))
    which = f"values of {what}" if what else "setting and which values"
    return Say(f"Which {which} shall I try? Two to eight, for example: {example}", asks=Asks("values", text))


_EXAMPLES = {"r": ("r", "8, 16 and 32"), "lr": ("the learning rate", "1e-4 and 3e-4"), "epochs": ("epochs", "1, 2 and 3"),
             "steps": ("steps", "50 and 100")}


def _ask(text: str, slots: Slots, question: Question) -> Move:
    if not question.prompt:
        whom = {"both": "ask both", "base": "ask the base model", SERVED: f"ask the deployment {question.deployment}".strip()}
        return Say("What shall I ask?", asks=Asks("prompt", whom.get(question.target, "ask the tuned model")))
    args: dict[str, Any] = {"prompt": question.prompt}
    if question.target == SERVED:
        return of_deployment("ask_model", {**args, **_given(compare=question.compare or None)}, question.deployment)
    match question.target:
        case "both":
            args |= _given(run_id=_run(slots), compare=True)
        case "base":
            args["model"] = slots.model or "bundled"
        case "tuned":
            pass
        case run:
            args["run_id"] = run
    return Do("ask_model", args)


def _which_data(text: str) -> Say:
    joint = "with " if read_place(text).provider == "azure" else "" if " on " in text or " of " in text else "on "
    sentence = f"{text.rstrip('.!?')} {joint}{DEFAULT_DATA}"
    return Say(_WHICH_DATA, (("The helpdesk sample", sentence),), Asks("dataset", text))


def _run(slots: Slots) -> str | None:
    return slots.runs[0] if slots.runs else None


def _given(**args: Any) -> Mapping[str, Any]:
    return {name: value for name, value in args.items() if value is not None}
