"""What a request names: spans copied out of the person's own words, never made up."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.brain.sweeps import SETTINGS, read_sweep

_FILE = re.compile(r"(?<![\w/~.-])((?:~?/|\.{1,2}/)?[\w@+-][\w./@+-]*\.(?:jsonl|json|csv|tsv|txt|parquet))(?![\w/])", re.IGNORECASE)
_REGISTERED = re.compile(r"\b([a-z0-9][a-z0-9_-]{0,39}@[0-9a-f]{8})\b")
_PATH = re.compile(r"(?<![\w/~.-])(~?/[\w.@+-]+(?:/[\w.@+-]+)+)")
_SAMPLE = re.compile(
    r"\bhelp ?desk (?:data|sample|samples|dataset|examples|rows|file)\b|\b(?:the )?sample (?:data|dataset|file)\b", re.IGNORECASE
)
RUN = re.compile(r"\b(?=[0-9a-z]*\d)(?=[0-9a-z]*[a-z])([0-9a-hjkmnp-tv-z]{10})\b")
_NAMED_MODEL = re.compile(
    r"\b([A-Za-z][\w.-]*/[A-Za-z][\w.-]*)(?![\w/])|\b((?:smollm|qwen|phi|llama|gemma|mistral|tinyllama|falcon|pythia|granite|olmo)[\w.-]*)\b",
    re.IGNORECASE,
)
_OWN_MODEL = re.compile(
    r"\b(?:(?:fine-?)?tune|train|trainiere|teach|use|model|modell)\s+(?:(?:the|my|das|mein) )?(?:model |modell )?"
    r"([A-Za-z0-9][\w.-]*@[0-9a-f]{8})(?![\w@])", re.IGNORECASE,
)
"""A registered folder by its id; a dataset's id has the same shape and stands elsewhere in a sentence."""
_BUNDLED = re.compile(r"\bbundled\b|\b(?:built-?in|shipped|included|small|mitgeliefert\w*) (?:model|one|modell)\b", re.IGNORECASE)
_EPOCHS = re.compile(
    r"(?<![\w.])(\d+(?:\.\d+)?)\s*(?:epochs?|epochen|passes)\b|\bepochs?\s*(?:=|:|to|of)?\s*(\d+(?:\.\d+)?)\b", re.IGNORECASE
)
_STEPS = re.compile(
    r"(?<![\w.])(\d+)\s*(?:training |optimi[sz]er )?(?:steps?|schritte)\b|\b(?:max_?steps|steps)\s*(?:=|:|to|of)?\s*(\d+)\b", re.IGNORECASE
)
_RATE = re.compile(r"\b(?:learning[ _-]?rate|lernrate|lr)\s*(?:=|:|of|to|at|von)?\s*(\d+(?:\.\d+)?(?:e-?\d+)?|\.\d+)", re.IGNORECASE)
_RANK = re.compile(r"(?<![\w./-])(?:lora[ _-]?r(?:ank)?|rank|r)\s*(?:=|:|of|to|at|von)?\s*(\d{1,4})(?![\w.]*\w)", re.IGNORECASE)
_TIME = re.compile(
    r"\b(?:(?:at most|no (?:more|longer) than|not (?:more|longer) than|within|up to|max(?:imum|imal)?|limit(?:ed)?(?: it)?(?: to)?|"
    r"(?:stop|end)(?:s|ping)?(?: it)? after|höchstens|max_?time)(?: of)?\s*[=:]?|for)\s*(\d+(?:\.\d+)?)\s*"
    r"(s(?:ec(?:ond)?s?)?|m(?:in(?:ute)?[sn]?)?|h(?:(?:ou)?rs?)?)\b", re.IGNORECASE,
)
_NAME = re.compile(
    r"\b(?:name it|call it|called|named|under the name(?: of)?|as dataset|with the name|namens)\s+[\"'“]?([A-Za-z0-9][\w-]{0,39})",
    re.IGNORECASE,
)
_METHOD = re.compile(
    r"\b(qlora|lora)\b(?![ _-]?r(?:anks?)?\b)|\b(full)(?= (?:fine|method|training|tun|run))|\b(4[ -]?bits?)\b", re.IGNORECASE
)
_FORMAT = re.compile(r"\b(onnx|safetensors|adapter|gguf|merged)\b", re.IGNORECASE)
_LINES = re.compile(r"\b(?:last|tail|-n|letzten?)\s+(\d+)\b|\b(\d+)\s*(?:log )?(?:lines?|zeilen)\b", re.IGNORECASE)
_ROWS = re.compile(
    r"\b(\d+)\s*(?:rows?|examples?|lines?|samples?|conversations?|records?|zeilen|beispiele)\b|\b(?:first|top|ersten)\s+(\d+)\b",
    re.IGNORECASE,
)
_GB = re.compile(r"\b(\d+(?:\.\d+)?)\s*(?:gb|gib|gigs?|gigabytes?)\b", re.IGNORECASE)
_LICENCE = re.compile(r"\b(mit|apache(?:-2\.0)?|permissive)\b(?=.*licen[cs]e|\b)", re.IGNORECASE)
_TASKS = {
    "classify": r"classif|sentiment|categor|label",
    "summarise": r"summar",
    "translate": r"translat",
    "chat": r"chat|dialog|convers",
    "support answers": r"support|help ?desk|customer|ticket|faq",
    "question answering": r"question|answering",
    "extract": r"extract",
    "code": r"\bcode|program",
    "write": r"writ|description|text generation",
}
_STATUS = (
    ("running", r"running|going|active|alive|in progress"),
    ("failed", r"fail|crash|wrong|broke|error"),
    ("cancelled", r"cancel|stopped|aborted"),
    ("finished", r"finish|complete|\b(?:is|are|all) done\b|success"),
)
_WORDS = {"one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "ten": "10", "zwei": "2", "drei": "3", "fünf": "5"}
_COUNTED = re.compile(rf"\b({'|'.join(_WORDS)})(?= (?:epoch|step|row|line|example|zeile|beispiel|pass))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Slots:
    """Everything a request names; None and empty where it does not."""

    dataset: str | None = None
    path: str | None = None
    model: str | None = None
    runs: tuple[str, ...] = ()
    settings: Mapping[str, int | float | str] = field(default_factory=dict)
    """epochs, max_steps, learning_rate, lora_r, max_time, sweep, method, name: as `start_finetune` calls them."""
    format: str | None = None
    lines: int | None = None
    rows: int | None = None
    max_vram_gb: float | None = None
    license: str | None = None
    task: str | None = None
    status: str | None = None


def read_slots(text: str) -> Slots:
    """Copy out what a request names."""
    own = _OWN_MODEL.search(text)
    text = text.replace(own[1], " ", 1) if own else text  # what is left of it names data
    text = _COUNTED.sub(lambda found: _WORDS[found.group(1).lower()], text)
    files = _FILE.findall(text) + _REGISTERED.findall(text)
    outside = next(iter(_PATH.findall(text)), None)
    dataset = files[0] if files else ("samples/helpdesk.jsonl" if _SAMPLE.search(text) else None)
    bare = _REGISTERED.sub(" ", _FILE.sub(" ", _PATH.sub(" ", text)))
    settings: dict[str, int | float | str] = {}
    if (value := _number(_EPOCHS, bare)) is not None:
        settings["epochs"] = int(value) if value.is_integer() else value
    if (value := _number(_STEPS, bare)) is not None:
        settings["max_steps"] = int(value)
    if (value := _number(_RATE, bare)) is not None:
        settings["learning_rate"] = value
    if (value := _whole(_RANK, bare)) is not None:
        settings["lora_r"] = value
    if found := _TIME.search(bare):
        settings["max_time"] = f"{found.group(1)}{found.group(2)[0].lower()}"
    if (swept := read_sweep(bare)) and swept.values:
        settings.pop(SETTINGS[swept.of], None)
        settings["sweep"] = swept.text
    if found := _METHOD.search(bare):
        settings["method"] = (found.group(1) or found.group(2) or "qlora").lower()
    if found := _NAME.search(bare):
        settings["name"] = found.group(1).lower()
    low = bare.lower()
    return Slots(
        dataset=dataset,
        path=dataset or outside,
        model=own[1] if own else _model(bare),
        runs=tuple(dict.fromkeys(RUN.findall(bare))),
        settings=settings,
        format=_format(low),
        lines=_whole(_LINES, bare),
        rows=_whole(_ROWS, bare),
        max_vram_gb=_number(_GB, bare),
        license=_licence(low),
        task=next((name for name, pattern in _TASKS.items() if re.search(pattern, low)), None),
        status=next((name for name, pattern in _STATUS if re.search(pattern, low)), None),
    )


def _model(text: str) -> str | None:
    if _BUNDLED.search(text):
        return "bundled"
    found = _NAMED_MODEL.search(text)
    return (found.group(1) or found.group(2)).rstrip(".,;-") if found else None


def _format(low: str) -> str | None:
    found = _FORMAT.search(low)
    return {"merged": "safetensors"}.get(found.group(1), found.group(1)) if found else None


def _licence(low: str) -> str | None:
    found = _LICENCE.search(low) if "licen" in low or "permissive" in low or "apache" in low else None
    return found.group(1) if found else None


def _number(pattern: re.Pattern[str], text: str) -> float | None:
    found = pattern.search(text)
    return float(next(part for part in found.groups() if part)) if found else None


def _whole(pattern: re.Pattern[str], text: str) -> int | None:
    value = _number(pattern, text)
    return None if value is None else int(value)
