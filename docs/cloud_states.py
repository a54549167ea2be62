"""The table of azure.md, written from the phases of a run in the cloud, between its two marks."""

from pathlib import Path

from docs.states import BEGIN, END

PAGE = Path(__file__).resolve().parent / "azure.md"


def azure_page() -> str:
    """azure.md as it stands, its table as the code has it."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{_phases()}\n\n{END}{after}"


def _phases() -> str:
    from tools.runs.cloud_row import AT_WORK, ENDED, Phase
    from tools.runs.cloud_view import WORDS

    def costs(phase: Phase) -> str:
        if phase is Phase.START_UNKNOWN:
            return "cannot be known yet"
        return "may" if phase in AT_WORK else "no"

    rows = [f"| {phase.value} | {WORDS.get(phase, '')} | {costs(phase)} | {'yes' if phase in ENDED else ''} |" for phase in Phase]
    return "\n".join(["| phase | what a person reads | costs money | ended |", "| --- | --- | --- | --- |", *rows])
