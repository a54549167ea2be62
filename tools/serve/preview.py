"""How a row looks to the trainer, from the engine's own renderer: the preview child behind the datasets' port."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policies.tool import ToolFailed
from tools.serve.child import JsonChild
from tools.serve.children import EngineChildren, engine_said

IDLE_S = 300.0
PREVIEW_S = 90.0
"""Seconds a rendering may take; the first one loads transformers."""


class PreviewChild:
    """Implements `tools.datasets.preview.Previewer`. Thread-safe."""

    def __init__(self, engine: EngineChildren, folder: Path) -> None:
        self._child = JsonChild(engine, ("preview",), folder)

    def render(self, model_dir: Path, row: Mapping[str, Any], max_length: int) -> Mapping[str, Any]:
        """`rendered` and `tokens` of one row; ToolFailed with the engine's reason."""
        request = {"op": "render", "model_dir": str(model_dir), "row": dict(row), "max_length": max_length}
        for reply in self._child.ask(request, PREVIEW_S):
            error = reply.get("error")
            if error is None:
                return reply
            said = error if isinstance(error, Mapping) else {}
            raise engine_said("Preview a row", said, "Check the dataset with validate_dataset.")
        raise ToolFailed("Preview a row", "The preview ended without a reply.", "Try again.", kind="engine")

    def tidy(self) -> None:
        """End the child when it has been idle for long: it holds a tokenizer and transformers."""
        self._child.tidy(IDLE_S)

    def close(self) -> None:
        """End the child."""
        self._child.close()
