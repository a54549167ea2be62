"""The command assistant's fixed words, and the short answers it knows."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from agent.brain.cloud import CLOUD, OFFERS
from agent.brain.intents import INTENTS, OFFERED_FIRST, offer
from agent.brain.slots import Slots

_END = r"[\s.!,👍✅🙏]*"
YES = re.compile(
    rf"(?:(?:yes|yep|yeah|yup|ok|okay|k|sure|fine|lgtm|go|go ahead|do it|please do|yes please|sounds good|looks good|approved?|"
    rf"i approve(?: it)?|approve it|confirm(?:ed)?|agreed|of course|start it|ja|jawohl|klar|sí|oui|[👍✅👌🙏])[\s,]*){{1,6}}{_END}",
    re.IGNORECASE,
)
NO = re.compile(rf"(?:no|nope|nah|no thanks|no thank you|deny|denied|i deny(?: it)?|reject(?: it)?|nein|non|[👎❌]+){_END}", re.IGNORECASE)
FORGET = re.compile(
    rf"(?:please |ok,? |no,? |oh,? )*(?:cancel|forget|withdraw|drop|scrap|undo|retract|discard|take back|dismiss|abbrechen|vergiss)"
    rf"(?: (?:it|that|this|about it|the (?:proposal|plan|request)|my (?:proposal|plan|request)|es))?(?:,? please)?{_END}|"
    rf"(?:never ?mind|nvm){_END}",
    re.IGNORECASE,
)
AMEND = re.compile(r"\b(?:make (?:it|that)|instead|rather|change|use|set|with|switch|only|better|but|lieber|mach)\b|^\d", re.IGNORECASE)
NEGATED = re.compile(r"\b(?:don'?t|do not|never|nicht)\b", re.IGNORECASE)
COMMAND = re.compile(r"^(?:stop|cancel|forget|help|list|show|fine-?tune|train|export|evaluate|check|never ?mind)\b", re.IGNORECASE)

FIRST_CHOICES = tuple(offer(name, Slots()) for name in OFFERED_FIRST)
HELLO = (
    "Hello! I am Luthier's command assistant. I look at this machine, check data, estimate, fine-tune small models, measure them and serve "
    "them. Nothing starts without your press of a button. For example: Fine-tune the bundled model on samples/helpdesk.jsonl"
)
HELP = (
    "You can say, in plain words:\n"
    "- What can this machine do? · List the models · Recommend a model for support answers\n"
    "- Check the dataset samples/helpdesk.jsonl · Show me 3 rows of it · Add my dataset /path/file.jsonl\n"
    "- How long would it take on samples/helpdesk.jsonl? · Fine-tune the bundled model on samples/helpdesk.jsonl, 3 epochs\n"
    "- How is the run going? · Show the log · Stop the run · Resume the run · List my runs\n"
    "- Try r 8, 16 and 32 on samples/helpdesk.jsonl · Stop the sweep · Compare my runs\n"
    "- Evaluate the tuned model · Ask both: how do I reset my password? · Export the model as onnx\n"
    "- Deploy it · What is deployed? · Ask the deployment: hello · Redeploy · Stop the deployment\n"
    "- What would it cost on Azure? · Prepare the cloud · Run it on Azure · Fetch the results · Deploy it on Azure\n"
    "- Continue it on Azure · Show the orphans · Tear down the cloud\n"
    "- What have I spent? · Would I be allowed to export the model? · Check the policy\n"
    "I also answer questions such as “what is LoRA?” or “how should my data look?”."
)
THANKS = "You are welcome."
SPOKEN: Mapping[str, tuple[Any, ...]] = {
    "hello": (HELLO, FIRST_CHOICES),
    "help": (HELP, FIRST_CHOICES),
    "thanks": (THANKS,),
    "cloud": (CLOUD, OFFERS),
}
UNSURE = "I am not sure what you mean. Did you want one of these? You can also say “help”."
PASTED = "That looks like pasted data. Tell me in words what you would like; data goes into a file, by upload or add_dataset."
NO_ANSWER = (
    "I have no answer to that. I can explain LoRA and QLoRA, epochs and learning rates, data formats, scores, memory, where files are, "
    "approvals and safety. For free conversation set LUTHIER_BRAIN to a language model."
)
NOTHING_OPEN = "I did not ask anything just now. Tell me what you would like to do."
NOTHING_WAITS = "Nothing of yours waits for an approval. Did you mean a run?"
READING_ONLY = (
    "While the language model is away I only look, and start or change nothing. Try again when it answers, or unset LUTHIER_BRAIN."
)


def card(waiting: Sequence[Mapping[str, Any]]) -> str:
    """Where the decision is made; words never make it."""
    newest = waiting[-1]
    label = _label(newest)
    return (
        f"“{label}” waits on its card (approval {newest.get('approval_id')}). Please press Approve or Deny there: words in the chat decide "
        f"nothing. In a terminal: python -m ui approve {newest.get('approval_id')}"
    )


def no_card(waiting: Sequence[Mapping[str, Any]]) -> str:
    """How to turn a waiting proposal down."""
    return f"“{_label(waiting[-1])}” still waits on its card. Press Deny there, or say “forget it” to withdraw your own request."


def no_tool(label: str) -> str:
    """A tool that this version does not have."""
    return f"“{label}” is not in this version."


def _label(waiting: Mapping[str, Any]) -> str:
    tool = str(waiting.get("tool", ""))
    return INTENTS[tool].label if tool in INTENTS else tool
