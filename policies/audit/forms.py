"""One record in the forms of an export: JSON lines, OCSF 1.9 (API Activity, 6003) and CloudEvents 1.0. Pure."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from policies.audit.record import canonical

Form = Literal["jsonl", "ocsf", "cloudevents"]
ACTIVITY = {"READ": 2, "LOCAL": 3, "SPEND": 1, "EXPOSE": 3, "DESTROY": 4}
"""Effect → activity_id of API Activity: create, read, update, delete."""
NAMES = {0: "Unknown", 1: "Create", 2: "Read", 3: "Update", 4: "Delete", 99: "Other"}


def json_line(seq: int, digest: str, stored: bytes) -> bytes:
    """The stored bytes as they are, with their hash and number around them: itself canonical JSON."""
    return b'{"hash":"%s","record":%s,"seq":%d}\n' % (digest.encode(), stored, seq)


def cloud_event(seq: int, digest: str, stored: bytes) -> bytes:
    """A CloudEvent in structured mode; `sequence` and `recordhash` are extension attributes."""
    record = json.loads(stored)
    run = record["refs"]["run"]
    event = {
        "specversion": "1.0", "id": f"{record['log']}/{seq}", "source": record["log"], "time": record["ts"],
        "type": f"luthier.audit.{record['kind']}.{record['event']}", "datacontenttype": "application/json",
        "sequence": str(seq), "recordhash": digest, "data": record,
    }
    return canonical(event | ({"subject": f"run:{run}"} if run else {})) + b"\n"


class Ocsf:
    """Records as OCSF 1.9 events; each carries the fingerprint of the one before it (profile record_integrity)."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._before: tuple[str, str] | None = None

    def __call__(self, seq: int, digest: str, stored: bytes) -> bytes:
        """The event of the next record."""
        record = json.loads(stored)
        event = self._event(seq, digest, stored, record)
        # The fingerprint is over the event with its place in the chain, and without itself (OCSF, object attestation).
        print_ = {"algorithm": "SHA-256", "algorithm_id": 3, "value": hashlib.sha256(canonical(event)).hexdigest()}
        event["attestation"] |= {"fingerprint": print_}
        self._before = (event["metadata"]["uid"], print_["value"])
        return canonical(event) + b"\n"

    def _event(self, seq: int, digest: str, stored: bytes, record: Mapping[str, Any]) -> dict[str, Any]:
        tool, result, actor = record["tool"], record["result"], record["actor"]
        activity = max((ACTIVITY.get(effect, 99) for effect in tool["effects"]), default=99 if tool["name"] is None else 0)
        refused = record["policy"]["decision"] == "deny"
        status = 1 if result["status"] == "ok" else 2 if refused or result["status"] in ("error", "timeout", "denied") else 0
        moment = datetime.fromisoformat(record["ts"]).astimezone(UTC)
        attestation: dict[str, Any] = {"uid": f"{record['log']}/{seq}", "authority_uid": record["key"] or record["log"],
                                       "chain_uid": record["log"]}
        if self._before is not None:
            uid, value = self._before
            attestation["prev_event"] = {"uid": uid, "fingerprint": {"algorithm": "SHA-256", "algorithm_id": 3, "value": value}}
        return {
            "category_uid": 6, "category_name": "Application Activity", "class_uid": 6003, "class_name": "API Activity",
            "activity_id": activity, "activity_name": NAMES[activity], "type_uid": 600300 + activity,
            "type_name": f"API Activity: {NAMES[activity]}", "severity_id": 3 if refused else 1,
            "severity": "Medium" if refused else "Informational",
            "status_id": status, "status": ("Unknown", "Success", "Failure")[status], "status_detail": result["status"] or "",
            "time": int(moment.timestamp() * 1000), "message": f"{record['kind']} {record['event']}",
            "actor": {"user": {"uid": actor["sub"], "name": actor["sub"]},
                      **({"session": {"uid_alt": actor["session"]}} if actor["session"] else {})},
            "api": {"operation": tool["name"] or record["event"], "service": {"name": "luthier", "version": tool["version"] or ""},
                    "request": {"uid": tool["call_id"] or f"{record['log']}/{seq}"}},
            "src_endpoint": {"name": actor["via"], "type": "Other", "type_id": 99},
            **({"ai_model": {"name": record["agent"]["model"], "ai_provider": "Other"}} if record["agent"]["model"] else {}),
            "resources": [{"uid": record["refs"]["run"], "type": "run"}] if record["refs"]["run"] else [],
            "metadata": {
                "version": "1.9.0", "uid": f"{record['log']}/{seq}", "sequence": seq, "log_name": record["log"],
                "original_time": record["ts"], "event_code": f"{record['kind']}.{record['event']}",
                "profiles": ["ai_operation", "record_integrity"],
                "product": {"name": "Luthier", "vendor_name": "Luthier", "version": self._version},
            },
            "attestation": attestation, "raw_data": stored.decode(), "raw_data_size": len(stored), "unmapped": {"hash": digest},
        }
