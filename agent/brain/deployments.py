"""Deployments in words: “deploy it”, “what is deployed?”, “stop the deployment”; and what is said of them."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agent.brain.blanks import BESIDE, DEPLOYMENT, IF_PAID, LOOK, of_newest
from agent.brain.intents import is_doubtful
from agent.brain.moves import Do
from agent.brain.place import Place, read_place
from agent.brain.slots import Slots
from agent.brain.units import moment

_I = re.IGNORECASE
_ELSEWHERE = re.compile(
    r"\b(?:kubernetes|k8s|aws|gcp|sagemaker|public(?:ly)?|internet|team|world|everyone|everybody|anyone|share)\b", _I)
_OPEN = re.compile(r"\b(?:public(?:ly)?|internet|world|everyone|everybody|anyone|all people|öffentlich|jeder?|alle)\b", _I)
_RULES = re.compile(r"\b(?:allow(?:ed)?|permi\w+|polic\w+|rules?|approv\w+)\b", _I)
_NOUN = r"(?:deployments?|endpoints?|served model|deployed model|endpunkte?s?)"
_THING = rf"(?:{_NOUN}|deployed|serving)"
_LIST = re.compile(
    rf"^(?:what(?:'s| is| are| have i)?|which|list|show(?: me)?|is anything|are there|any|do i have|zeige?|welche)\b.*\b{_THING}\b"
    rf"|^(?:my )?(?:deployments|endpoints)\W*$", _I)
_ABOUT = re.compile(
    rf"^(?:what|how much|who|which|when|where|is|does|are|give me|was|wie viel|wer|wann|wo|ist)\b.*\b{_NOUN}\b.*"
    rf"|^(?:what|who|is|where)\b.*\b(?:it|model) (?:reachable|deployed|answering)\b", _I)
_FACTS = re.compile(
    r"\b(?:costs?|pa(?:y|id)|spen[dt]|price|who|call(?:s|ed)?|reach(?:es)?|use|url|address|up|down|running|alive|healthy|ready|asleep|awake|curl|"
    r"ends?|expires?|stops?|ip|ips|revision|weights|kostet|läuft|erreichbar|adresse)\b", _I)
_HYPOTHETICAL = re.compile(r"\b(?:would|to deploy|could|should|würde)\b", _I)
_STOP = re.compile(
    r"\b(?:stop|end|kill|shut(?: down)?|halt|take down|turn off|switch off|terminate|undeploy|remove|delete|stoppe?|beende|lösche?|"
    rf"entferne)\b.*\b{_THING}\b|\bundeploy\b|\bstop (?:serving|deploying)\b", _I)
_DELETE = re.compile(r"\b(?:delete|remove|lösche?|entferne)\b", _I)
_AGAIN = re.compile(
    rf"\bre-?deploy\b|\b(?:restart|reboot|start(?! an? | one )|update|switch|neu ?starten?|starte)\b.*\b{_NOUN}\b"
    rf"|\b(?:extend|prolong|keep|verlängere)\b.*\b{_NOUN}\b.*\b(?:hours?|h|days?|stunden?|tage?)\b"
    rf"|\b(?:send|route|give)\b.*(?:%|\b(?:per ?cent|prozent)\b).*\bnew", _I)
_LETS_IN = re.compile(rf"\b(?:allow|add|let in|admit|erlaube)\b.*\b{_NOUN}\b", _I)
_RESTART = re.compile(r"\b(?:restart|reboot|neu ?starten?)\b", _I)
_NEWER = re.compile(
    r"\b(?:new(?:er|est)?|latest|last|fresh|neue[nrs]?|neuesten?|letzten?)\b.{0,25}\b(?:weights?|run|model|adapter|one|results?|training|"
    rf"gewichte\w*|lauf)\b|\bupdate\b.*\b{_NOUN}\b", _I)
_CANARY = re.compile(r"\b(\d{1,2})\s*(?:%|per ?cent|prozent)", _I)
_NAMED = re.compile(rf"\b{_NOUN} ([0-9a-hjkmnp-tv-z]{{10}})\b", _I)
_WITH = re.compile(r"\b(?:with|run|from|of|to|mit|lauf)\s+(?:run |the run )?([0-9a-hjkmnp-tv-z]{10})\b", _I)
_DEPLOY = re.compile(
    r"\bdeploy\b|\b(?:serve|host|expose)\b.{0,40}\b(?:model|it|this|that|run|tuned|base|bundled|http|api|locally)\b"
    r"|\bmake\b.{0,30}\b(?:available|reachable) (?:over|through|via) (?:http|an? api)"
    r"|\b(?:make|create|open|set up|give me|want|need|erstelle)\b.{0,20}\b(?:an?|one|einen?)\b.{0,15}\b(?:endpoint|deployment|endpunkt)\b"
    r"|\bput (?:the |my )?(?:tuned |trained )?(?:model|adapter) (?:on|in|into|to) (?:azure|the cloud)\b"
    r"|\bstell\w*\b.{0,40}\bbereit\b|\b(?:bereitstellen|deploye|veröffentliche|déploie|despliega)\b", _I)
_BASE = re.compile(r"\b(?:base|untuned|original|bundled)\b", _I)
_TUNED = re.compile(r"\b(?:tuned|fine-?tuned|my)\b", _I)
NOT_OPEN = (
    "Luthier never opens a model to the whole world. On Azure it answers only to the addresses on its card and only with its key; name "
    "them: “deploy it on azure for 203.0.113.7”, or leave them out for the address that this machine has."
)


def wants_open(text: str) -> bool:
    """Whether the words ask to let everybody in."""
    asked = _DEPLOY.search(text) or re.search(rf"\b(?:make|open)\b.*\b(?:it|model|{_NOUN})\b|\blet\b.*\b(?:call|use)\b", text, _I)
    return bool(asked and _OPEN.search(text)) and not (_RULES.search(text) or is_doubtful(text))


def read_deploying(text: str, slots: Slots) -> Do | None:
    """The call that the words ask for; None where they are about something else, another place, or doubtful."""
    place, marked = read_place(text), _NAMED.search(text)
    if re.match(rf"who\b.*\b{_NOUN}\b", text, _I):
        return Do(LOOK)
    if place.addresses and _LETS_IN.search(text) and not is_doubtful(text):
        args = {"deployment_id": marked.group(1) if marked else DEPLOYMENT, "allow_ips": [BESIDE, *place.addresses]}
        return Do(LOOK, then=(("redeploy", args),))
    if _ELSEWHERE.search(text) or _RULES.search(text):
        return None
    if _LIST.search(text) or (_ABOUT.search(text) and _FACTS.search(text) and not _HYPOTHETICAL.search(text)):
        return Do(LOOK)
    if is_doubtful(text):
        return None
    others = [each for each in slots.runs if marked is None or each != marked.group(1)]
    if _STOP.search(text):
        named = marked.group(1) if marked else next(iter(others), "")
        args: dict[str, Any] = {"deployment_id": named} if named else {}
        return Do("stop_deployment", {**args, "delete": True} if _DELETE.search(text) else args)
    if _AGAIN.search(text):
        return _again(text, place, marked.group(1) if marked else "", others)
    if not _DEPLOY.search(text):
        return None
    if others:
        return Do("deploy_inference", {"run_id": others[0], **_there(place)})
    model = None if _TUNED.search(text) else slots.model or ("bundled" if _BASE.search(text) else None)
    return Do("deploy_inference", {**({"model": model} if model else {}), **_there(place)})


def _again(text: str, place: Place, ident: str, others: Sequence[str]) -> Do:
    """Another revision: of the run that was named, of the newest, or of the same once more."""
    with_runs = _WITH.findall(text)
    ident = ident or next((each for each in others if each not in with_runs), "")
    others = [each for each in others if each != ident]
    args: dict[str, Any] = {"deployment_id": ident} if ident else {}
    if _RESTART.search(text) and not others:
        return Do(LOOK, then=(("redeploy", {"deployment_id": ident or DEPLOYMENT, "restart": IF_PAID}),))
    canary = _CANARY.search(text)
    args |= {**({"run_id": others[0]} if others else {}), **({"canary_percent": int(canary.group(1))} if canary else {}), **_rest(place)}
    return of_newest(("redeploy", args)) if not others and (_NEWER.search(text) or canary) else Do("redeploy", args)


def _there(place: Place) -> Mapping[str, Any]:
    """What the words say of a deployment in Azure; nothing for one on this machine."""
    return place.args("provider", "gpu", "region", "max_hours", "allow_ips")


def _rest(place: Place) -> Mapping[str, Any]:
    """What the words say of the next revision."""
    found = {"max_hours": place.hours, "allow_ips": list(place.addresses)}
    return {name: value for name, value in found.items() if value}


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
            f"{moment(facts.get('expires_at'))}. The result shows a ready curl line and "
            f"where the API key lies ({facts.get('api_key_hint')}).")


def _deployed_there(ident: Any, tuned: str, facts: Mapping[str, Any]) -> str:
    if facts.get("state") != "running":
        return (f"Deployment {ident} is on its way to {facts.get('where')} ({facts.get('state', 'starting')}): its files are uploaded, "
                "then the app is made. Say “what is deployed?” in a few minutes.")
    return (f"{tuned} answers at {facts.get('url')} (deployment {ident}, {facts.get('where')}), for the addresses on its card only, until "
            f"{moment(facts.get('expires_at'))}. It sleeps while nobody asks, so a first answer takes minutes. The result shows a ready "
            f"curl line and where the API key lies ({facts.get('api_key_hint')}).")


def _listed(facts: Mapping[str, Any]) -> str:
    found = facts.get("deployments") or []
    count = facts.get("orphans")
    verb = "is" if count == 1 else "are"
    strays = f" {count} that nobody knows of {verb} there as well; “show the orphans” says what can be done." if count else ""
    if not found:
        return f"Nothing is deployed. Say “deploy it” after a run has finished.{strays}"
    lines = [f"{each.get('deployment_id')} is {each.get('state')}" + (f" at {each.get('url')}" if each.get("state") == "running" else "")
             + _paid(each) for each in found[:5]]
    return f"{len(found)} deployment{'' if len(found) == 1 else 's'}: {'; '.join(lines)}.{strays}"


def _paid(found: Mapping[str, Any]) -> str:
    """What one on Azure costs, whom it lets in and when it ends; empty for one on this machine."""
    if found.get("spent") is None:
        return ""
    whom = ", ".join(str(each) for each in (found.get("allow_ips") or [])[:4]) or "nobody"
    going = f", {found.get('per_hour')} while it is awake" if found.get("state") == "running" else ""
    ends = f", until {moment(found.get('expires_at'))}" if found.get("state") == "running" else ""
    return f", {found['spent']} USD so far of at most {found.get('ceiling')}{going}, for {whom}{ends}"


def _stopped(facts: Mapping[str, Any]) -> str:
    return f"Deployment {facts.get('deployment_id', '')} is {facts.get('state', 'stopped')}."


DEPLOYMENT_WORDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "deploy_inference": _deployed, "redeploy": _deployed, "list_deployments": _listed, "stop_deployment": _stopped,
}
