"""The standing orders of a run in the cloud: what its approval said is to be stopped, as the card shows it."""

from policies.proposal import Order
from tools.runs.cloud_look import WAITS
from tools.runs.plan import minutes

EXPIRY_H = 72
"""Hours after which a run in the cloud has had its time, waiting included."""


def cloud_orders(timeout_s: int) -> tuple[Order, ...]:
    """Each is due when `cancel_run` itself finds that its condition holds."""
    said = {
        "cap": "stopped when rate × time reaches the most it can cost",
        "deadline": f"stopped when it is still at work {minutes(timeout_s + WAITS.grace)} after its start",
        "silence": f"warned after {minutes(WAITS.warn)} without a sign of life, stopped after {minutes(WAITS.silence)}",
        "no_start": f"stopped when the engine has not reported {minutes(WAITS.no_start)} after Azure began to charge",
        "finished": f"stopped when its container still runs {minutes(WAITS.grace)} after its result",
        "second_execution": "a second execution beside the first is stopped",
        "expiry": f"stopped {EXPIRY_H} hours after it was approved, whatever it is doing",
    }
    return tuple(Order(kind, text, "cancel_run", "run_id") for kind, text in said.items())  # type: ignore[arg-type]
