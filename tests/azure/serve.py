"""`python -m tests.azure.serve FOLDER ENGINE_PYTHON`: the stand-in for Azure as a process of its own, until its input ends."""

import json
import sys
from pathlib import Path

from tests.azure.cloud import Cloud


def main(folder: Path, python: Path) -> int:
    """Serve; the first line says the variables that point a program here. 1 when a request broke a schema."""
    with Cloud(folder, engine_python=python) as cloud:
        settings = {"LUTHIER_AZURE_ENDPOINT": cloud.endpoint, "LUTHIER_AZURE_CA": str(cloud.ca), "LUTHIER_AZURE_REGION": "westus3"}
        print(json.dumps({**settings, **cloud.identity}), flush=True)
        sys.stdin.read()
        left = [each for each in cloud.world.resources if "/resourcegroups/" in each]
        ended = [each.status for each in cloud.executions]
        print(json.dumps({"left": left, "executions": ended, "violations": cloud.violations}), flush=True)
        return 1 if cloud.violations else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
