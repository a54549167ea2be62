"""The one error of the set-up: what was wanted, what was found, what to do."""


class SetupFailed(Exception):
    """The set-up cannot go on; the three parts are printed to the person."""

    def __init__(self, what: str, because: str, try_next: str) -> None:
        super().__init__(f"{what}: {because} {try_next}")
        self.what, self.because, self.try_next = what, because, try_next
