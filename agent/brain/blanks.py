"""What a call leaves open until a look has answered: which deployment is meant, and which run finished last."""

from collections.abc import Mapping
from typing import Any

from langchain_core.messages import AIMessage

from agent.brain.moves import Do, Say, Step

LOOK = "list_deployments"
DEPLOYMENT, NEWEST, IF_PAID, BESIDE = "?deployment", "?newest run", "?if it runs on Azure", "?beside those that it has"
"""Stand in a step's arguments for what the look before it finds."""
NONE_SERVED = "Nothing is deployed that could do that. Say “deploy it” after a run has finished, or “what is deployed?” for the list."
NO_RUN = "No run of yours has finished yet, so there are no newer weights to serve."
MOST = 6


def of_deployment(tool: str, args: Mapping[str, Any], named: str) -> Do:
    """The call for the deployment that was named; else a look first, and then the call for the only one."""
    if named:
        return Do(tool, {**args, "deployment_id": named})
    return Do(LOOK, then=((tool, {**args, "deployment_id": DEPLOYMENT}),))


def of_newest(step: Step) -> Do:
    """The call for the run that finished last, which a look finds first."""
    return Do("list_runs", {"status": "finished"}, then=((step[0], {**step[1], "run_id": NEWEST}),))


def filled(step: Step, facts: Mapping[str, Any]) -> Step | Say:
    """The step with what the look before it found; a question back where it found nothing, or several."""
    tool, args = step[0], dict(step[1])
    if args.get("run_id") == NEWEST:
        found = [str(each["run_id"]) for each in facts.get("runs") or [] if each.get("run_id")]
        if not found:
            return Say(NO_RUN)
        args["run_id"] = found[0]
    if args.get("deployment_id") == DEPLOYMENT:
        chosen = _meant(tool, args, facts)
        if isinstance(chosen, Say):
            return chosen
        args["deployment_id"] = chosen["deployment_id"]
    meant: Mapping[str, Any] = next(
        (each for each in facts.get("deployments") or [] if each.get("deployment_id") == args.get("deployment_id")), {})
    if args.get("restart") == IF_PAID:
        del args["restart"]
        if meant.get("state") == "running" and str(meant.get("where") or "").startswith("Azure"):
            args["restart"] = True
    if BESIDE in (args.get("allow_ips") or ()):
        args["allow_ips"] = list(dict.fromkeys([*(meant.get("allow_ips") or []), *(each for each in args["allow_ips"] if each != BESIDE)]))
    return tool, args


def which(tool: str, facts: Mapping[str, Any], calling: AIMessage | None) -> Do | None:
    """The look for the deployment that a refused call did not name, and the call again; None for all other answers."""
    args = calling.tool_calls[0]["args"] if calling is not None and calling.tool_calls else {}
    if facts.get("error_kind") != "malformed" or tool not in ("stop_deployment", "redeploy") or "deployment_id" in args:
        return None
    return of_deployment(tool, args, "")


def _meant(tool: str, args: Mapping[str, Any], facts: Mapping[str, Any]) -> Mapping[str, Any] | Say:
    known = [each for each in facts.get("deployments") or [] if each.get("deployment_id") and each.get("state") != "deleted"]
    living = [each for each in known if each["state"] not in ("stopped", "failed", "lost")]
    if tool == "ask_model":
        chosen = [each for each in living if each["state"] == "running"]
    else:
        chosen = living or known
    if not chosen:
        starting = ", ".join(f"{each['deployment_id']} is {each['state']}" for each in living)
        return Say(f"{starting}: ask again in a few minutes." if starting else NONE_SERVED)
    if len(chosen) == 1:
        return chosen[0]
    shown = tuple((_label(each), _sentence(tool, args, str(each["deployment_id"]))) for each in chosen[:MOST])
    return Say("Which deployment?", shown)


def _label(found: Mapping[str, Any]) -> str:
    what = "the tuned model" if found.get("tuned") else f"the model {found.get('model', '')}"
    return f"{found['deployment_id']}: {what}, {found.get('state')}, {found.get('where') or 'this machine'}"


def _sentence(tool: str, args: Mapping[str, Any], ident: str) -> str:
    """The request once more, with the deployment named."""
    if tool == "ask_model":
        return f"ask the deployment {ident}: {args['prompt']}"
    if tool == "stop_deployment":
        return f"{'delete' if args.get('delete') else 'stop'} the deployment {ident}"
    canary = f" with {args['canary_percent']} percent canary" if args.get("canary_percent") else ""
    run = f" with run {args['run_id']}" if args.get("run_id") else ""
    return f"{'restart' if args.get('restart') else 'redeploy'} the deployment {ident}{run}{canary}"
