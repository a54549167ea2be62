"""What something that cost money has cost in the end: given to the gateway, which settles each call once."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settlement:
    """The actual cost of one call, in integer micro-units of US dollars."""

    call_id: str
    micros: int
    basis: str
    """How the amount was found, in one sentence."""
