"""What a person has in front of them: for every approval, the last state that the faces were told."""

from policies.gateway import Gateway
from policies.verdict import Answer, ApprovalView


class Faces:
    """Hears what every face hears, and nothing else."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        # A face that opens reads what waits; from then on it is told.
        self.shown: dict[str, str] = {view.id: view.status for view in gateway.pending()}
        gateway.subscribe(self._hear)

    def _hear(self, view: ApprovalView, answer: Answer | None) -> None:
        self.shown[view.id] = view.status

    def untrue(self) -> dict[str, tuple[str, str]]:
        """Id → what is shown and what is true, of every approval that a face shows wrongly or does not know to be waiting.

        True is the book's word; one round of upkeep at most may lie between the two, and callers let it pass first.
        """
        true = {approval_id: view.status for approval_id in self.shown if (view := self.gateway.approval(approval_id)) is not None}
        true |= {view.id: view.status for view in self.gateway.pending()}
        return {one: (self.shown.get(one, "nothing"), state) for one, state in true.items() if self.shown.get(one) != state}
