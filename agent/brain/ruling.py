"""Questions about the rules: which call a person asks about, so that the policy itself can answer."""

import re

from agent.brain.intents import DEFAULT_DATA, INTENTS, offer
from agent.brain.moves import Asks, Do, Move, Say
from agent.brain.requests import plan
from agent.brain.router import Router
from agent.brain.slots import Slots, read_slots

ABOUT_RULES = frozenset({"explain_policy", "test_policy"})
SURE = 0.25
_FRAME = re.compile(
    r"^.*?\b(?:allowed to|permitted to|allow(?: me)?(?: to)?|let me|may i|permits?|need (?:an? )?(?:approval|yes) to|say yes to|verdict on|"
    r"(?:about|for|to|when i|if i|whether i may|darf ich|zum|über)(?= )|explain(?: the)? policy|policy explain)\b\s*",
    re.IGNORECASE,
)
_AROUND = re.compile(
    r"\b(?:which|what|rules?|decides?|decide|applies|apply|policy|does|do|is|are|would|need|needs|an?|approval|allowed|permitted|refused|"
    r"denied|be|it|the verdict|somebody's yes|here|here\?)\b", re.IGNORECASE,
)
_TRAINING = re.compile(r"(?:a |the |my )?(?:training|trains?|train(?:ing)? (?:run|a model|here)|fine-?tun(?:e|es|ing))", re.IGNORECASE)
_WHICH = "About which action? Name it as you would ask for it: “would I be allowed to export the model?”"


def ask_rules(text: str, router: Router) -> Move:
    """The call of `explain_policy` for the action that the words name; a question back where they name none."""
    tool, args = action_of(text, router)
    if tool is None:
        names = ("start_finetune", "export_model", "add_dataset")
        return Say(_WHICH, tuple((INTENTS[name].label, f"Would I be allowed to {_lower(offer(name, Slots())[1])}?") for name in names),
                   Asks("action", "Would I be allowed to"))
    return Do("explain_policy", {"tool": tool, **({"arguments": args} if args else {})})


def action_of(text: str, router: Router) -> tuple[str | None, dict[str, object]]:
    """The tool and arguments of the action that a question about the rules is about; None when it names no action."""
    named = next((name for name in INTENTS if re.search(rf"\b{name}\b", text)), None)
    rest = _FRAME.sub("", text, count=1) if _FRAME.match(text) else _AROUND.sub(" ", text)
    rest = rest.strip(" ?.!")
    if named is None and len(rest.split()) < 1:
        return None, {}
    if named is None and _TRAINING.fullmatch(rest):
        named = "start_finetune"
    likely = {} if named else router.probabilities(rest)
    found = {name: sure for name, sure in likely.items() if name in INTENTS and name not in ABOUT_RULES}
    name, sure = (named, 1.0) if named else next(iter(found.items()), (None, 0.0))
    if name is None or sure < SURE:
        return None, {}
    return _call(name, rest, read_slots(rest))


def _call(name: str, text: str, slots: Slots) -> tuple[str, dict[str, object]]:
    move = plan(name, f"{text} {DEFAULT_DATA}" if INTENTS[name].need_dataset and slots.dataset is None else text,
                read_slots(f"{text} {DEFAULT_DATA}") if INTENTS[name].need_dataset and slots.dataset is None else slots)
    match move:
        case Do(then=then) if then:
            return then[-1][0], dict(then[-1][1])
        case Do(tool=tool, args=args):
            return tool, dict(args)
        case _:
            return name, dict(_LEAST.get(name, {}))


_LEAST: dict[str, dict[str, object]] = {
    "export_model": {"format": "onnx"}, "add_dataset": {"path": DEFAULT_DATA}, "ask_model": {"prompt": "Hello"},
}
"""What a call needs at least, where the words leave it out."""


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
