"""What a dataset means for one model: rows and token lengths, counted once for each state of the file."""

import os
import threading
from collections.abc import Mapping

from policies.tool import ToolFailed
from tools.catalogue import Catalogue
from tools.datasets.refs import Refs
from tools.datasets.render import TokenCounter
from tools.datasets.survey import survey
from tools.datasets.validate import Lengths
from tools.outlook import DatasetFacts

_KEPT = 32


class CountedData:
    """Implements `tools.outlook.DatasetReader`. Thread-safe."""

    def __init__(self, refs: Refs, catalogue: Catalogue) -> None:
        self._refs, self._catalogue = refs, catalogue
        self._known: dict[tuple[object, ...], DatasetFacts] = {}
        self._lock = threading.Lock()

    def rows_of(self, dataset: str, model: str) -> DatasetFacts:
        """Count rows and tokens with the model's tokenizer. ToolFailed with the first error of the data and its remedy."""
        folder = self._catalogue.folder(model)
        with self._refs.open(dataset) as file:
            state = os.fstat(file.fd)
            # The change time too: it cannot be set back.
            key = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns, file.registered_digest, folder.digest)
            with self._lock:
                if key in self._known:
                    return self._known[key]
            lengths = Lengths(folder.id, TokenCounter(folder.path))
            found = survey(file, see=lengths.see)
        error = found.findings.first_error
        if error is not None:
            raise ToolFailed(f"Train on {dataset}", error.message, error.remedy, kind="data")
        tokens = lengths.as_json()
        assert isinstance(tokens, Mapping)
        facts = DatasetFacts(
            found.rows, found.division.count("train"), _whole(tokens["p50"]), _whole(tokens["p95"]), _whole(tokens["max"]), found.digest
        )
        with self._lock:
            self._known[key] = facts
            while len(self._known) > _KEPT:
                self._known.pop(next(iter(self._known)))
        return facts


def _whole(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0
