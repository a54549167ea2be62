"""Deployments in words: “deploy it”, “what is deployed?”, “stop the deployment”; and what is said of them."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from agent.brain.intents import is_doubtful
from agent.brain.moves import Do, Move
from agent.brain.place import Place, read_place
from agent.brain.slots import Slots

_ELSEWHERE = re.compile(
    r"\b(?:kubernetes|k8s|aws|gcp|sagemaker|public(?:ly)?|internet|team|world|everyone|share)\b", re.IGNORECASE)
_RULES = re.compile(r"\b(?:allow(?:ed)?|permi\w+|polic\w+|rules?|approv\w+)\b", re.IGNORECASE)
_THING = r"(?:deployments?|deployed|endpoints?|served model|serving)"
_LIST = re.compile(
    rf"^(?:what(?:'s| is| are| have i)?|which|list|show(?: me)?|is anything|are there|any|do i have)\b.*\b{_THING}\b"
    rf"|^(?:my )?(?:deployments|endpoints)\W*$", re.IGNORECASE)
_STOP = re.compile(
    rf"\b(?:stop|end|kill|shut(?: down)?|halt|take down|turn off|terminate|undeploy|remove|delete)\b.*\b{_THING}\b"
    r"|\bundeploy\b|\bstop (?:serving|deploying)\b", re.IGNORECASE)
_DELETE = re.compile(r"\b(?:delete|remove)\b", re.IGNORECASE)
_AGAIN = re.compile(rf"\bre-?deploy\b|\b(?:restart|start again|update|switch)\b.*\b{_THING}\b", re.IGNORECASE)
_DEPLOY = re.compile(
    r"\bdeploy\b|\b(?:serve|host|expose)\b.{0,40}\b(?:model|it|this|that|run|tuned|base|bundled|http|api|locally)\b"
    r"|\bmake\b.{0,30}\b(?:available|reachable) (?:over|through|via) (?:http|an? api)"
    r"|\bstell\w*\b.{0,40}\bbereit\b|\b(?:bereitstellen|deploye|veröffentliche)\b", re.IGNORECASE)
_BASE = re.compile(r"\b(?:base|untuned|original|bundled)\b", re.IGNORECASE)
_TUNED = re.compile(r"\b(?:tuned|fine-?tuned|my)\b", re.IGNORECASE)
LOOKS = "list_deployments"


def read_deploying(text: str, slots: Slots) -> Do | None:
    """The call that the words ask for; None where they are about something else, another place, or doubtful."""
    if _ELSEWHERE.search(text) or _RULES.search(text):
        return None
    if _LIST.search(text):
        return Do(LOOKS)
    if is_doubtful(text):
        return None
    named, place = slots.runs[0] if slots.runs else None, read_place(text)
    if _STOP.search(text):
        args: dict[str, Any] = {"deployment_id": named} if named else {}
        return Do("stop_deployment", {**args, "delete": True} if _DELETE.search(text) else args)
    if _AGAIN.search(text):
        return Do("redeploy", {"run_id": named} if named else {})
    if not _DEPLOY.search(text):
        return None
    if named:
        return Do("deploy_inference", {"run_id": named, **_there(place)})
    model = None if _TUNED.search(text) else slots.model or ("bundled" if _BASE.search(text) else None)
    return Do("deploy_inference", {**({"model": model} if model else {}), **_there(place)})


def _there(place: Place) -> Mapping[str, Any]:
    """What the words say of a deployment in Azure; nothing for one on this machine."""
    return place.args("provider", "gpu", "region", "max_hours", "allow_ips")


def guarded(move: Do, reading_only: bool, refusal: Move) -> Move:
    """The move, or the refusal where the assistant only looks."""
    return refusal if reading_only and move.tool != LOOKS else move


def say_deployment_notice(facts: Mapping[str, Any]) -> str:
    """A deployment ended without anybody asking here."""
    ident, state = facts.get("deployment_id", ""), facts.get("state", "changed")
    if state in ("failed", "lost"):
        return f"Deployment {ident} no longer answers ({facts.get('kind', state)}). Say “redeploy” to start it again."
    return f"Deployment {ident} is {state}. Say “redeploy” to start it again."


def _deployed(facts: Mapping[str, Any]) -> str:
    ident, tuned = facts.get("deployment_id", ""), "The tuned model" if facts.get("tuned") else f"The model {facts.get('model', '')}"
    if str(facts.get("where") or "").startswith("Azure"):
        return _deployed_there(ident, tuned, facts)
    if facts.get("state") != "running":
        return f"Deployment {ident} is {facts.get('state', 'starting')}. Say “what is deployed?” in a moment."
    return (f"{tuned} answers at {facts.get('url')} (deployment {ident}, {facts.get('precision')}), on this machine only, until "
            f"{facts.get('expires_at')}. The result shows a ready curl line and where the API key lies ({facts.get('api_key_hint')}).")


def _deployed_there(ident: Any, tuned: str, facts: Mapping[str, Any]) -> str:
    if facts.get("state") != "running":
        return (f"Deployment {ident} is on its way to {facts.get('where')} ({facts.get('state', 'starting')}): its files are uploaded, "
                "then the app is made. Say “what is deployed?” in a few minutes.")
    return (f"{tuned} answers at {facts.get('url')} (deployment {ident}, {facts.get('where')}), for the addresses on its card only, until "
            f"{facts.get('expires_at')}. It sleeps while nobody asks, so a first answer takes minutes. The result shows a ready curl line "
            f"and where the API key lies ({facts.get('api_key_hint')}).")


def _listed(facts: Mapping[str, Any]) -> str:
    found = facts.get("deployments") or []
    count = facts.get("orphans")
    verb = "is" if count == 1 else "are"
    strays = f" {count} that nobody knows of {verb} there as well; the result shows what can be done." if count else ""
    if not found:
        return f"Nothing is deployed. Say “deploy it” after a run has finished.{strays}"
    lines = [f"{each.get('deployment_id')} is {each.get('state')}" + (f" at {each.get('url')}" if each.get("state") == "running" else "")
             for each in found[:5]]
    return f"{len(found)} deployment{'' if len(found) == 1 else 's'}: {'; '.join(lines)}.{strays}"


def _stopped(facts: Mapping[str, Any]) -> str:
    return f"Deployment {facts.get('deployment_id', '')} is {facts.get('state', 'stopped')}."


DEPLOYMENT_WORDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "deploy_inference": _deployed, "redeploy": _deployed, "list_deployments": _listed, "stop_deployment": _stopped,
}
