"""`python -m tools.engine VERB …`: the verbs, each in a file of its own, imported only when asked for."""

import json
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType

USAGE = (
    "python -m tools.engine train RUN_FOLDER | score SPEC | export SPEC | convert SPEC | probe RUN_FOLDER | answer | preview | serve FOLDER"
)


def main(argv: list[str]) -> int:
    """Run one verb; exit status 0 done, 75 cancelled, 1 failed, 2 wrong usage.

    `score`, `export` and `convert` say a failure on the last line of stdout, as JSON with outcome, error_kind and message.
    """
    match argv:
        case ["train", folder]:
            from tools.engine.train import train

            return train(Path(folder))
        case ["probe", folder]:
            return told(lambda: probe_verb(Path(folder)))
        case ["score" | "export" | "convert" as verb, path]:
            return told(lambda: spec_verb(verb, Path(path).read_text(encoding="utf-8")))
        case ["answer", *options]:
            from tools.engine.answer import main as answer

            return answer(options)
        case ["serve", *options]:
            from tools.engine.serve import main as serve

            return serve(options)
        case ["preview"]:
            from tools.engine.preview import main as preview

            return preview()
        case _:
            print(f"usage: {USAGE}", file=sys.stderr)
            return 2


def probe_verb(folder: Path) -> None:
    """Two steps on the longest batch."""
    from tools.engine.probe import probe

    probe(folder)


def spec_verb(verb: str, text: str) -> None:
    """Read a spec and do what it says."""
    from tools.engine import spec

    match verb:
        case "score":
            from tools.engine.score import score

            score(spec.ScoreSpec.model_validate_json(text))
        case "export":
            from tools.engine.export import export

            export(spec.ExportSpec.model_validate_json(text))
        case _:
            from tools.engine.convert import convert

            convert(spec.ConvertSpec.model_validate_json(text))


def told(work: Callable[[], None]) -> int:
    """Do the work; say a failure as JSON on stdout, its traceback on stderr."""
    from tools.engine.failure import Cancelled, explain

    def heard(_signum: int, _frame: FrameType | None) -> None:
        raise Cancelled

    signal.signal(signal.SIGTERM, heard)
    try:
        work()
    except Cancelled:
        return 75
    except Exception as error:
        traceback.print_exc()
        kind, message = explain(error)
        print(json.dumps({"outcome": "failed", "error_kind": kind, "message": message}), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
