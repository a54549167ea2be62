"""What is refused before it reaches the graph, because whatever enters the graph stays in its checkpoints."""

from policies.redact import looks_secret

MAX_CHARACTERS = 32_000


def refuse_words(text: str) -> tuple[str, str] | None:
    """What is wrong with a message and what to do, or None when it may be said. The words themselves are not repeated."""
    if not text.strip():
        return "The message is empty.", "Say what you would like to do, for example: What can this machine do?"
    if len(text) > MAX_CHARACTERS:
        return (
            f"The message has {len(text):,} characters; the limit is {MAX_CHARACTERS:,}.",
            "Upload long text as a file, or put it into a data folder and name it.",
        )
    if kind := looks_secret(text):
        name = "HF_TOKEN" if "hugging" in kind or kind.startswith("hf") else "NAME"
        return (
            f"The message looks as if it holds a secret ({kind}). It was not kept and not sent to anyone.",
            f"Keep secrets with `python -m ui secret set {name}`, then name them. "
            "If this one is real, make a new one: it was typed into a chat.",
        )
    return None
