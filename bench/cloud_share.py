"""`python -m bench.cloud_share FOLDER`: a stand-in for Azure with a prepared place, as a process of its own until its input ends."""

import json
import sys
from pathlib import Path

from tests.azure.cloud import Cloud

if __name__ == "__main__":
    with Cloud(Path(sys.argv[1])) as cloud:
        place = cloud.prepared()
        key = cloud.world.account_keys(place.account)[0]
        print(json.dumps({"files": place.files, "account": place.account, "key": key, "ca": str(cloud.ca)}), flush=True)
        sys.stdin.read()
