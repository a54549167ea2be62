"""What the command assistant says of a tool's answer: sentences made of the typed facts that the brain is given."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.messages import ToolMessage

from agent.brain.cloud_words import CLOUD_WORDS, say_blocked, say_places, say_spent
from agent.brain.deployments import DEPLOYMENT_WORDS, say_deployment_notice
from agent.brain.run_words import ELSEWHERE, RUN_WORDS, kind_of, score_words
from agent.brain.units import cents, duration, gib, span

Facts = Mapping[str, Any]


def facts_of(message: ToolMessage) -> Facts:
    """The facts in a tool's message; empty when it holds none of ours."""
    try:
        facts = json.loads(str(message.text))
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def went_well(message: ToolMessage) -> bool:
    """Whether the next step of a plan may follow: done, and where it was a check, passed."""
    facts = facts_of(message)
    return (
        message.status != "error"
        and facts.get("status") == "done"
        and facts.get("ok", True) is not False
        and facts.get("fits", True) is not False
        and facts.get("can_start", True) is not False
    )


def say_result(tool: str, facts: Facts) -> str:
    """A tool's answer in words; short, because faces show the whole result beside them."""
    match facts.get("status"):
        case "waiting":
            return (
                f"The plan is on the card (approval {facts.get('approval_id', '')}). Nothing happens until a person presses Approve there; "
                "you can go on asking meanwhile, or say “forget it”."
            )
        case "refused":
            return _sentence(f"That was refused: {facts.get('reason', 'no rule allows it')}", facts.get("remedy"))
        case "failed":
            return _sentence(f"That did not work. {facts.get('reason', '')}".strip(), facts.get("remedy"))
        case _:
            known = _DONE.get(tool)
            return known(facts) if known else "Done."


def say_notice(notice: Facts) -> str:
    """What to say of something that happened outside a turn; the notice itself is on the screen already."""
    facts: Facts = notice.get("facts") or {}
    run = facts.get("run_id", "")
    if notice.get("kind") == "run" and facts.get("deployment_id"):
        return say_deployment_notice(facts)
    match notice.get("kind"), facts.get("state"):
        case "outcome", _ if facts.get("status") == "done":
            return say_result(str(facts.get("tool", "")), facts)
        case "outcome", _:
            return say_result(str(facts.get("tool", "")), facts)
        case "run", "finished":
            scores = score_words(facts)
            return f"Run {run} is finished. {scores}You can now say: “ask both: …”, “evaluate the tuned model” or “export the model”."
        case "run", "failed":
            other = " Another GPU or region may be free: “what would it cost on azure?”" if facts.get("kind") in ELSEWHERE else ""
            return f"Run {run} failed{kind_of(facts)}. Say “show the log” for its last lines, or “resume the run”.{other}"
        case "run", "cancelled":
            at = f"at step {facts.get('step') or 0}{kind_of(facts)}"
            return f"Run {run} was stopped {at}. Its checkpoints are kept; say “resume the run” to go on."
        case "run", "interrupted":
            return f"Run {run} was interrupted. Say “resume the run” to go on from its last checkpoint."
        case "sweep", _:
            return say_result("compare_runs", facts) if facts.get("status") == "done" else "The sweep has ended."
        case "denied", _:
            return "All right, nothing was done. Say what should be different, and I make a new plan."
        case (("expired" | "revoked"), _):
            return "Say it again if you still want it."
        case _:
            return f"Run {run} is {facts.get('state', 'changed')}." if run else "Noted."


def _hardware(facts: Facts) -> str:
    gpus = facts.get("gpus") or []
    card = f"GPU {gpus[0]}" if gpus else "no usable GPU, so it trains on the processor"
    free = facts.get("memory_free_gib", "?")
    return f"This machine has {facts.get('cores', '?')} cores, {free} of {facts.get('memory_gib', '?')} GiB memory free, and {card}."


def _models(facts: Facts) -> str:
    models = facts.get("models") or []
    here = [str(each.get("id")) for each in models if each.get("offline")]
    return f"I know {len(models)} models" + (f"; already here: {', '.join(here[:6])}." if here else ".")


def _recommended(facts: Facts) -> str:
    choice = facts.get("choice")
    if not choice:
        return " ".join(["No model passes.", *(str(each) for each in facts.get("notes") or [])])
    others = [str(each) for each in facts.get("alternatives") or []][:3]
    return f"I would take {choice['model']} with {choice.get('method', 'qlora')}: {choice.get('why', 'it fits')}." + (
        f" Others that fit: {', '.join(others)}." if others else ""
    )


def _validated(facts: Facts) -> str:
    split = facts.get("split") or {}
    if facts.get("ok"):
        counts = facts.get("problem_counts") or {}
        remarks = f" There are {sum(counts.values())} remarks; the result lists them." if counts else ""
        return (
            f"The data is fine: {facts.get('rows', '?')} rows ({facts.get('format', '?')}), {split.get('train', '?')} to train on and "
            f"{split.get('test', '?')} held out.{remarks}"
        )
    error = facts.get("first_error") or {}
    where = f" in row {error['row']}" if error.get("row") else ""
    return _sentence(f"This data cannot be used yet: {str(error.get('kind', 'a problem')).replace('_', ' ')}{where}", error.get("remedy"))


def _estimated(facts: Facts) -> str:
    time, memory, cost = facts.get("time") or {}, facts.get("memory") or {}, facts.get("cost") or {}
    if facts.get("fits") is False:
        return _sentence(f"It does not fit: {facts.get('reason', '')}", "Choose a smaller model, qlora, or free memory.")
    return (
        f"It fits: about {gib(memory.get('likely_bytes'))} of memory and {span(time.get('low_s'), time.get('high_s'))} "
        f"(likely {duration(time.get('likely_s'))}), {facts.get('steps', '?')} steps, "
        f"cost {cost.get('likely', '0.00')} {cost.get('currency', 'USD')}.{say_places(facts)}{say_blocked(facts)}"
    )


def _evaluated(facts: Facts) -> str:
    gain = facts.get("gain") or {}
    word = {
        "better": "The tuned model is better.",
        "worse": "The tuned model is worse than the base.",
        "no_clear_difference": "No clear difference between tuned and base.",
    }.get(str(facts.get("verdict")), "Nothing was scored: there are no held-out rows with answers.")
    if gain.get("value") is None:
        return word
    change = 100 * gain["value"]
    moved = "did not change" if not change else f"{'rose' if change > 0 else 'fell'} by {abs(change):.1f} points"
    span = f"95 % interval {100 * gain['ci_low']:.1f} to {100 * gain['ci_high']:.1f}, " if "ci_low" in gain and "ci_high" in gain else ""
    return f"{word} Exact match on held-out rows {moved} ({span}{gain.get('rows', '?')} rows)."


def _exported(facts: Facts) -> str:
    what = f"The {facts.get('format', '')} export of run {facts.get('run_id', '')}"
    return f"{what} is ready: {facts.get('files', '?')} files. The result names the folder."


def _asked(facts: Facts) -> str:
    count = len(facts.get("answers") or [])
    return "The answers are side by side above." if count > 1 else "The answer is above."


def _added(facts: Facts) -> str:
    return f"The dataset is registered as {facts.get('dataset', '?')}: {facts.get('rows', '?')} rows. Use this name from now on."


def _spent(facts: Facts) -> str:
    if not any(facts.get(name) not in (None, "0.00", "0") for name in ("reserved", "settled", "accruing", "billed")):
        return "Nothing has been spent, and nothing is reserved."
    currency, whose = facts.get("currency", "USD"), "everybody" if facts.get("whose") == "everybody" else "you"
    since = f" since {str(facts['since'])[:10]}" if facts.get("since") else ""
    known = [each for each in facts.get("budgets") or [] if each.get("left") is not None]
    left = [f"{cents(each['left'])} {currency} of {each.get('name')}" for each in known]
    said = f"Spent by {whose}{since}: {cents(facts.get('settled'))} {currency}."
    reserved = f"Reserved for what still runs: {cents(facts.get('reserved'))} {currency}."
    return f"{said} {reserved}{say_spent(facts)}{' Left: ' + ', '.join(left) + '.' if left else ''}"


def _explained(facts: Facts) -> str:
    return str(facts.get("message") or "The rules' answer is above.")


def _tested(facts: Facts) -> str:
    cases, failed = facts.get("cases", 0), facts.get("failed", 0)
    if facts.get("valid") is False:
        return "The policy in the home is not valid; the result says why. The one in force stays."
    if not failed:
        return f"The policy is in order: all {cases} cases hold."
    names = ", ".join(f"“{name}”" for name in (facts.get("names") or [])[:5])
    return f"{failed} of {cases} cases do not hold: {names}."


_DONE: dict[str, Callable[[Facts], str]] = {
    "inspect_hardware": _hardware,
    "list_models": _models,
    "recommend_model": _recommended,
    "validate_dataset": _validated,
    "preview_dataset": lambda facts: (
        f"{facts.get('shown_to_the_person', 'Some')} rows are shown above ({facts.get('format', 'unknown format')})."
    ),
    "estimate_cost": _estimated,
    "evaluate_model": _evaluated,
    "export_model": _exported,
    "ask_model": _asked,
    "add_dataset": _added,
    "spend_report": _spent,
    "explain_policy": _explained,
    "test_policy": _tested,
    **RUN_WORDS,
    **CLOUD_WORDS,
    **DEPLOYMENT_WORDS,
    "withdraw_proposal": lambda facts: f"The proposal {facts.get('approval_id', '')} is withdrawn. Nothing was done.",
}


def _sentence(what: str, remedy: Any) -> str:
    what = what if what.endswith((".", "!", "?")) else f"{what}."
    return f"{what} {remedy}" if remedy else what
