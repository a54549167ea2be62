"""A sweep in words: one setting and the several values that a request names for it, copied out and never made up."""

import re
from dataclasses import dataclass

_R = r"lora[ _-]?r(?:ank)?s?|ranks?|rnaks?|rangs?|r"
_RATE = r"(?:le?a?r?n?i?n?n?g|lern)[ _-]?rat(?:es?|en)?|lrs?"
_EPOCHS = r"epo?ch(?:s|es|en)?|epcohs?|ephocs?|epohcs?|passes"
_STEPS = r"(?:max[ _-]?|training |optimi[sz]er )?(?:steps?|schritte)"
_NAMES = (("r", _R), ("lr", _RATE), ("epochs", _EPOCHS), ("steps", _STEPS))
_NUMBER = r"(?:\d+(?:\.\d+)?|\.\d+)(?:e-?\d+)?(?![\w.]*\w)"
_BETWEEN = r"\s*(?:[,;/|&+]\s*(?:and |or |und |oder |then )?|\b(?:and then|and also|and|or|und|oder|vs\.?|versus|against|then|by)\b)\s*"
_IS = r"\s*(?:[=:]|(?:values?\s+)?(?:of|in|from|at|to|is|with|von|mit)\b|values?\b)?\s*[\[({]?\s*"
_WORDS = {"one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "eight": "8", "ten": "10", "sixteen": "16",
          "ein": "1", "eine": "1", "zwei": "2", "drei": "3", "vier": "4", "fünf": "5", "acht": "8"}
_SPELT = re.compile(rf"\b(?:{'|'.join(_WORDS)})\b", re.IGNORECASE)
_THOUSANDS = re.compile(r"(?<![\w.,])(\d{1,3}),(000)(?![\w.])")
_WHOLE = frozenset({"r", "steps"})
SETTINGS = {"r": "lora_r", "lr": "learning_rate", "epochs": "epochs", "steps": "max_steps"}
"""Each setting as a run of its own would be given it."""


@dataclass(frozen=True, slots=True)
class Named:
    """A setting and the values that the words give it; none where a sweep of it was asked for without saying which."""

    of: str
    """r, lr, epochs or steps: as `start_finetune` reads it."""
    values: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The argument `sweep`."""
        return f"{self.of}={','.join(self.values)}"


@dataclass(frozen=True, slots=True)
class _Pattern:
    before: re.Pattern[str]
    after: re.Pattern[str]
    name: re.Pattern[str]
    foreign: re.Pattern[str]
    """The end of a text whose next number belongs to another setting."""


def _pattern(of: str, name: str) -> _Pattern:
    named = rf"(?<![\w./-])(?:{name})(?![\w./-])"
    others = "|".join(other for each, other in _NAMES if each != of)
    item = rf"(?:{named}{_IS})?{_NUMBER}(?!\s*(?:{others})(?![\w./-]))"
    listed = rf"{item}(?:(?:{_BETWEEN}|\s+){item})+"
    counted = rf"{_NUMBER}\s*(?:{named})?(?:{_BETWEEN}{_NUMBER}\s*(?:{named})?)*{_BETWEEN}{_NUMBER}\s*(?:as |for |als )?(?:the )?{named}"
    flags = re.IGNORECASE
    return _Pattern(
        re.compile(rf"{named}{_IS}({listed})", flags), re.compile(rf"(?<![\w.,-])({counted})", flags), re.compile(named, flags),
        re.compile(rf"(?<![\w./-])(?:{others}){_IS}$", flags),
    )


_PATTERNS = {of: _pattern(of, name) for of, name in _NAMES}
_VALUE = re.compile(rf"(?<![\w.-]){_NUMBER}", re.IGNORECASE)
_ASKED = re.compile(r"\bsweep(?:s|ing)?\b|\bgrid[ -]?search\b|\b(?:hyper-?)?parameter[ -]?search\b", re.IGNORECASE)
_TRIES = re.compile(
    r"\b(?:tr(?:y|ies|ying)|compar(?:e|ing)|sweep(?:ing)?|test|train|tune|fine-?tune|runs?|experiment|search|explore|scan|"
    r"vary|varying|check out|do|start|launch|make|use|each|once|probier\w*|vergleich\w*|teste|trainiere|starte)\b|"
    r"^\W*(?:lora_?r|r|rank|lr)\b",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"^(?:(?:please|now|then|ok|let'?s|let us|i want to|i'd like to|i would like to|can you|could you|mach|starte?)[\s,]+)*"
    r"(?:(?:do|start|run|make|launch|try|set up|begin|kick off|want|like|mach|starte?)\b.{0,30}\b)?"
    r"(?:sweep|grid|(?:hyper-?)?parameter search)",
    re.IGNORECASE,
)
_BEEN = re.compile(
    r"\b(?:the|my|these|those|both|two|last|previous|finished|earlier)\s+(?:\w+\s+)?(?:runs?|trainings?|experiments?|results?|adapters?)\b|"
    r"\b(?:ran|did|was|were|have run|has run)\b", re.IGNORECASE,
)
_RULES = re.compile(r"\b(?:allow|permit|polic|approv|rules?\b|refus)", re.IGNORECASE)


def read_sweep(text: str) -> Named | None:
    """The one setting that has several values in `text`, or a sweep without values; None where there is neither."""
    spelt = _SPELT.sub(lambda found: _WORDS[found.group(0).lower()], _THOUSANDS.sub(r"\1\2", text))
    for of, pattern in _PATTERNS.items():
        for found in (pattern.before.search(spelt), pattern.after.search(spelt)):
            values = _values(of, found.group(1)) if found and not pattern.foreign.search(spelt[: found.start(1)]) else ()
            if len(values) > 1:
                return Named(of, values)
    if _ASKED.search(text):
        return next((Named(of) for of, pattern in _PATTERNS.items() if pattern.name.search(text)), Named(""))
    return None


def is_wanted(text: str) -> bool:
    """Whether the words ask for runs to be made, and do not speak of runs that were."""
    named = read_sweep(text)
    asked = _TRIES if named and named.values else _ASKS
    return bool(asked.search(text)) and not _BEEN.search(text) and not _RULES.search(text)


def may_be_wanted(text: str) -> bool:
    """Whether words that name values and data may be taken for a request without a verb: no question, nothing about what was."""
    return not (_BEEN.search(text) or _RULES.search(text) or text.rstrip().endswith("?"))


def _values(of: str, text: str) -> tuple[str, ...]:
    """The numbers as they were written, each once; a rank or a count of steps is whole."""
    found = dict.fromkeys(_VALUE.findall(text))
    if of in _WHOLE and any(not value.isdigit() for value in found):
        return ()
    return tuple(found)
