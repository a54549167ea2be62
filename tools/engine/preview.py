"""`python -m tools.engine preview`: rows rendered and marked, JSON lines in and out, by the module that feeds the trainer."""

import json
import sys
from pathlib import Path
from typing import Any, TextIO

from tools.engine import environment
from tools.engine.data import Renderer, check_row
from tools.engine.failure import EngineFailed, explain


def preview(renderer: Renderer, row: Any, max_length: int) -> dict[str, Any]:
    """`rendered` text, `tokens` (id, text, in_loss), how many there are, and whether training would take the row."""
    encoded = renderer.encode(check_row(row, 1, "the preview"))
    texts = [renderer.tokenizer.decode([token]) for token in encoded.ids]
    marked = zip(encoded.ids, texts, encoded.in_loss, strict=True)
    return {
        "rendered": "".join(text for text, _ in renderer.pieces(row["messages"])) if "messages" in row else row["text"],
        "tokens": [{"id": token, "text": text, "in_loss": wanted} for token, text, wanted in marked],
        "count": len(encoded.ids),
        "taken": len(encoded.ids) <= max_length,
    }


def serve_previews(requests: TextIO, replies: TextIO) -> None:
    """Answer requests until the input ends. One model's tokenizer is kept."""
    environment.settle(threads=1)
    kept: tuple[str, Renderer] | None = None
    for line in requests:
        if not line.strip():
            continue
        reply: dict[str, Any] = {"id": None}
        try:
            request = json.loads(line)
            reply["id"] = request.get("id")
            folder = str(request["model_dir"])
            if kept is None or kept[0] != folder:
                kept = (folder, Renderer(Path(folder)))
            reply |= preview(kept[1], request["row"], int(request.get("max_length", 512)))
        except EngineFailed as error:
            reply["error"] = {"kind": error.kind, "message": error.message}
        except FileNotFoundError as error:
            reply["error"] = {"kind": "model", "message": str(error)}
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            name = type(error).__name__
            reply["error"] = {"kind": "usage", "message": f"A request needs op, model_dir and row; this one fails with {name}."}
        except Exception as error:
            kind, message = explain(error)
            reply["error"] = {"kind": kind, "message": message}
        replies.write(json.dumps(reply, ensure_ascii=False) + "\n")
        replies.flush()


def main() -> int:
    """Serve on stdin and stdout."""
    serve_previews(sys.stdin, sys.stdout)
    return 0
