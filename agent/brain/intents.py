"""What the command assistant can be asked for: each intent's label, example sentence, and the words without which it is not done."""

import re
from dataclasses import dataclass

from agent.brain.slots import Slots


@dataclass(frozen=True, slots=True)
class Intent:
    """One thing to ask for."""

    name: str
    label: str
    """What a button says."""
    sentence: str
    """What the button says for the person; understood without doubt. `{data}` takes the dataset that was named."""
    reads: bool = True
    """Only looks. What does more is not done at a negation, a question about how, or another doubt."""
    words: str = ""
    """A pattern: without one of these words in the request the intent is only offered."""
    need_dataset: bool = False


_ALL = (
    Intent("inspect_hardware", "Look at this machine", "What can this machine do?"),
    Intent("list_models", "List the models", "List the models"),
    Intent("recommend_model", "Recommend a model", "Recommend a model for me"),
    Intent("validate_dataset", "Check the data", "Check the dataset {data}", need_dataset=True),
    Intent("preview_dataset", "Show some rows", "Show me some rows of {data}", need_dataset=True),
    Intent("estimate_cost", "Estimate time and cost", "Estimate the cost of a fine-tune on {data}", need_dataset=True),
    Intent("list_runs", "List my runs", "List my runs"),
    Intent("run_status", "How the run is going", "What is the status of the run?"),
    Intent("tail_logs", "Show the log", "Show me the log of the run"),
    Intent("compare_runs", "Compare runs", "Compare my runs"),
    Intent(
        "ask_model",
        "Ask base and tuned",
        "Ask both models a question",
        words=r"ask|answer|prompt|query|question|sa(?:y|id)|reply|respond|tr(?:y|ies)|chat|talk|generat|complete|send|"
        r"both|two|side by side|frag|show|"
        r"does the|pose|hello",
    ),
    Intent(
        "spend_report",
        "Show the spending",
        "What have I spent so far?",
        words=r"spen[dt]|bill|cost|money|budget|reserved|ledger|balance|paid|pay|charg|expens|dollar|token|ausg|gekostet",
    ),
    Intent(
        "explain_policy",
        "Ask the rules",
        "Would I be allowed to fine-tune the bundled model on {data}?",
        words=r"allow|permi|may|rules?|polic|approv|yes|refus|deni|forbid|verdict|darf|regel",
    ),
    Intent("test_policy", "Check the policy", "Check the policy", words=r"polic|rules?|limits?|cases?|regel|richtlinie"),
    Intent(
        "start_finetune",
        "Fine-tune",
        "Fine-tune the bundled model on {data}",
        reads=False,
        need_dataset=True,
        words=r"(?:re-?)?train|(?:fine-?)?tun(?:e|ing)|teach|learn|adapt|speciali|customi|school|study|improve|optimi|"
        r"build|create|make|lora|\brun\b|turn|sweep|tr(?:y|ies)|"
        r"want a model|feinabst|passe|entrena",
    ),
    Intent(
        "add_dataset",
        "Add a dataset",
        "Add my dataset",
        reads=False,
        words=r"add|regist|import|bring|load|use my|take|put|pull|ingest|include|"
        r"attach|adopt|enrol|copy|store|save|make|create|new|hand|give|get|know|füge|hinzu",
    ),
    Intent(
        "cancel_run",
        "Stop the run",
        "Stop the run",
        reads=False,
        words=r"stop|cancel|abort|kill|\bend\b|halt|interrupt|terminat|quit|pause|break|shut|plug|call off|enough|discontinue|"
        r"no more|rid of|abbrech|brich|beende",
    ),
    Intent(
        "resume_run",
        "Resume the run",
        "Resume the run from its last checkpoint",
        reads=False,
        words=r"resum|contin|carry on|go on|pick|restart|proceed|unpause|again|back|reviv|recover|retry|re-?run|keep|finish|complete|"
        r"take up|fortsetz|setze|weiter",
    ),
    Intent(
        "evaluate_model",
        "Measure the tuned model",
        "Evaluate the tuned model",
        reads=False,
        words=r"evaluat|scor|test (?:the|it|my|run|how)|measur|bench|better|good|well|improve|gain|accura|exact match|"
        r"prove|assess|grade|examin|quality|generali|"
        r"forget|unseen|not seen|before and after|worth|help|verify|validate|compare tuned|learn|bewerte|besser|gut",
    ),
    Intent(
        "export_model",
        "Export the model",
        "Export the model",
        reads=False,
        words=r"export|save|conver|onnx|gguf|safetensors|adapter|download|file|"
        r"weights|packag|pack|merge|format|take|out|quanti|served|int8|speicher",
    ),
)
INTENTS = {each.name: each for each in _ALL}
OFFERED_FIRST = ("inspect_hardware", "start_finetune", "run_status")
DEFAULT_DATA = "samples/helpdesk.jsonl"

_DOUBT = re.compile(
    r"\b(?:don'?t|do not|never|not yet|nicht|without|cost|price|estimate)\b|"
    r"^(?:how (?:do|would|can|could|should|to|is|long|much|many)\b|why\b|when (?:do|should|would)|should i\b|what (?:if|"
    r"happens|does|is|are|would)\b|"
    r"what's\b|can i\b|could i\b|may i\b|is it (?:possible|ok|safe)|would it\b|am i\b|"
    r"who\b|where (?:do|can|is|are)\b|explain|describe|wie (?:kann|muss)|warum|was (?:ist|bedeutet|kostet))",
    re.IGNORECASE,
)
_NOT_NOW = re.compile(r"\b(?:don'?t|do not|never|nicht)\b|^how (?:do|would|can|could|should|is)\b.*\b(?:i|computed)\b", re.IGNORECASE)
_QUESTIONS_OF = {
    "evaluate_model": re.compile(r"\b(?:score|accuracy|exact match|gain|improve|better|good|well|learn)", re.IGNORECASE),
    "export_model": re.compile(r"^(?:can|could|may) i\b", re.IGNORECASE),
}
"""Questions that are requests all the same: asking for the score is asking to measure; none of them costs or changes anything."""


def is_doubtful(text: str) -> bool:
    """Whether the words hold a negation, a question about how, or another doubt."""
    return bool(_DOUBT.search(text))


def may_act(intent: Intent, text: str) -> bool:
    """Whether the words themselves bear the intent out."""
    if not re.search(rf"\b(?:{intent.words})", text, re.IGNORECASE):
        return False
    if intent.reads or not is_doubtful(text):
        return True
    allowed = _QUESTIONS_OF.get(intent.name)
    return allowed is not None and bool(allowed.search(text)) and not _NOT_NOW.search(text)


def offer(name: str, slots: Slots) -> tuple[str, str]:
    """An intent as a button: label and sentence, with what the person named."""
    intent = INTENTS[name]
    return intent.label, intent.sentence.format(data=slots.dataset or DEFAULT_DATA)
