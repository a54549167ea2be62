"""A question for a model: whom a request wants to ask, and what."""

import re
from dataclasses import dataclass

from agent.brain.slots import RUN

_I = re.IGNORECASE
_SERVED = (
    r"(?:(?:the|my|our|a|das|den|die|mein(?:en?)?|dem|der) )?(?:running |azure |cloud |remote |local )?"
    r"(?:deployments?|deployed model|endpoints?|served model|(?:azure|cloud) (?:model|app)|app|"
    r"(?:it|(?:tuned )?model) (?:on|in) (?:azure|the cloud)|"
    r"endpunkt|bereitgestellte modell)"
    r"(?: (?:on|in|auf) (?:the |my )?(?:azure|cloud))?(?: [0-9a-hjkmnp-tv-z]{10}\b)?"
)
"""A deployment, with its id or without."""
_TARGET = (
    r"both(?: models| of them)?|beide(?: modelle)?|the (?:fine-?)?(?:tuned|trained|new|untuned|base|original|bundled)(?: (?:model|one))?|"
    r"(?:fine-?)?tuned|base|bundled|my (?:tuned )?model|the model|the (?:last )?run|(?:run )?[0-9a-hjkmnp-tv-z]{10}|it|"
    r"das (?:trainierte )?modell"
)
_POLITE = r"^(?:please |now |then |ok,? |bitte |can you |could you )*"
_ASK = re.compile(
    rf"{_POLITE}(?P<verb>ask|prompt|query|let|frage?)\s+(?P<target>{_SERVED}|{_TARGET})(?P<rest>(?:\s*[:,-]|\s).*)?$", _I | re.DOTALL)
_SENT = re.compile(
    rf"{_POLITE}(?:send|pose|say|type|schicke?)\s+(?P<rest>\S.*?)\s+(?:to|an)\s+(?P<target>{_SERVED})(?:\s*:\s*(?P<more>.+))?[.!]?$",
    _I | re.DOTALL)
_TRY = re.compile(rf"{_POLITE}(?:test|try|chat with|talk to|talk with)\s+(?P<target>{_SERVED})(?P<rest>\s*:.*)?[.!]?$", _I | re.DOTALL)
_FOR = re.compile(
    rf"^(?:an? |one |my |eine )?(?:question|prompt|frage)\s+(?:to|for|an|für)\s+(?P<target>{_SERVED})\s*[:,-]?\s*(?P<rest>.*)$",
    _I | re.DOTALL)
_SAYS = re.compile(
    rf"^(?:what|how) (?:does|do|would|will) (?P<target>{_SERVED}) (?:say|answer|reply|respond)(?: (?:to|if (?:i|you) (?:ask|say)))?"
    r"\s*[:,-]?\s*(?P<rest>.*)$", _I | re.DOTALL)
_FILLER = re.compile(r"^(?:with|about|this|the (?:question|prompt)|mit)\s*(?=[:\"“„'])", _I)
_QUOTED = re.compile(r"[\"“„]([^\"“”„]{1,8000})[\"”“]")
_AND_BASE = re.compile(r"\s*and (?:the |its )?(?:base|untuned|original)(?: (?:model|one))?\b", _I)
SERVED = "deployment"


@dataclass(frozen=True, slots=True)
class Question:
    """A question for a model: whom, and what."""

    target: str
    """tuned, base, both, deployment, or a run's id."""
    prompt: str
    deployment: str = ""
    """The deployment's id, where one was named."""
    compare: bool = False
    """Of a deployment: its untuned model is asked as well."""


def read_question(text: str) -> Question | None:
    """A request that says outright that a model is to be asked; None for all others."""
    text = text.strip()
    if served := _of_deployment(text):
        return served
    found = _ASK.match(text)
    if found is None:
        return None
    target, rest = found["target"].lower(), (found["rest"] or "").strip()
    if found["verb"].lower() == "let":
        rest, count = re.subn(r"^(?:answer|reply|respond)\b", "", rest, flags=_I)
        if not count:
            return None
    if re.fullmatch(_SERVED, target):
        return _deployed(target, rest)
    return Question(_whom(target), _prompt(rest))


def find_prompt(text: str) -> Question:
    """Whom and what to ask, in a request that is known to be one; the prompt is empty where none is found."""
    if direct := read_question(text):
        return direct
    low = text.lower()
    quoted = _QUOTED.search(text)
    rest = quoted.group(1) if quoted else text.partition(":")[2].strip()
    if served := re.search(rf"\b{_SERVED}", low.partition(":")[0]):
        return _deployed(served.group(0), rest)
    if re.search(r"\bboth\b|\bside by side\b|\bcompare\b|base and tuned", low):
        whom = "both"
    elif run := RUN.search(low):
        whom = run.group(1)
    else:
        whom = "base" if re.search(r"\b(?:base|untuned|original|bundled)\b", low.partition(":")[0]) else "tuned"
    return Question(whom, _prompt(rest))


def _of_deployment(text: str) -> Question | None:
    """“Send hello to the endpoint”, “question to my deployment: …”, “what does the endpoint say to …”."""
    for pattern in (_FOR, _SAYS, _SENT, _TRY):
        if found := pattern.match(text):
            rest = found.groupdict().get("more") or found["rest"] or ""
            if pattern is _SENT and re.search(r"\b(?:per ?cent|prozent|traffic|requests|weights)\b|%", rest, _I):
                return None
            if pattern in (_SENT, _TRY) or rest:
                return _deployed(found["target"], rest)
    return None


def _deployed(target: str, rest: str) -> Question:
    named, both = RUN.search(target.lower()), _AND_BASE.match(rest)
    return Question(SERVED, _prompt(rest[both.end():] if both else rest), named.group(1) if named else "", bool(both))


def _whom(target: str) -> str:
    if target.startswith(("both", "beide")):
        return "both"
    if re.search(r"untuned|base|original|bundled", target):
        return "base"
    found = RUN.search(target)
    return found.group(1) if found else "tuned"


def _prompt(rest: str) -> str:
    rest = re.sub(r"^[\s:,-]+", "", _FILLER.sub("", rest.strip())).strip()
    if re.fullmatch(r"(?:(?:a|one|some|another|the same|my|this|eine) )?(?:questions?|things?|something|frage)[.?!]*", rest, _I):
        return ""
    return rest[1:-1].strip() if len(rest) > 1 and rest[0] in "\"“„'" and rest[-1] in "\"”“'" else rest
