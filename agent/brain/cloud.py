"""Azure in words: “run it on Azure”, “prepare the cloud”, “fetch the results”, “tear down the cloud”; what each of them comes to."""

import re
from collections.abc import Mapping
from typing import Any

from agent.brain.intents import is_doubtful
from agent.brain.moves import Asks, Do, Move, Say
from agent.brain.place import Place
from agent.brain.slots import Slots

_I = re.IGNORECASE
_RULES = re.compile(r"\b(?:allow(?:ed)?|permi\w+|polic\w+|rules?|darf)\b", _I)
_CLOUD = r"(?:azure|clouds?|container apps?)"
_DRY = re.compile(
    r"\bdry[ -]?run\b|\bwhat (?:would|will|do|does) (?:you|luthier|it|that|preparing\b.*|setting\b.*) (?:then )?(?:create|make|build|"
    r"set up|put|need|prepare)\b|\bwas (?:würdest|wirst|legst) du\b.*\b(?:an(?:legen)?|erstellen|machen)\b"
    r"|\bwhat (?:gets|is|would be) created\b"
    rf"|\b(?:preview|list)\b.*\b(?:preparation|what .*{_CLOUD} needs)\b", _I)
_PREPARE = re.compile(
    rf"\b(?:prepare|set ?up|provision|initiali[sz]e|get|make|bereite|richte)\b.{{0,40}}\b{_CLOUD}\b(?:.{{0,30}}\b(?:ready|vor|ein)\b)?"
    rf"|\b{_CLOUD}\b.{{0,30}}\b(?:vorbereiten|einrichten|up and ready)\b|\bcreate (?:the|a|my) resource group\b|\bprepare_cloud\b",
    _I)
_GETS = re.compile(r"\b(?:get|make)\b", _I)
_READY = re.compile(r"\b(?:ready|set up|going)\b", _I)
_SHOW = re.compile(
    rf"\b(?:show|list|which|what(?:'s| is| are| do i have| have i got)?|zeige?|welche|is|are)\b.*\b(?:{_CLOUD}|resource group)\b", _I)
_THINGS = re.compile(
    rf"\b(?:resources?|things|stuff|ressourcen|prepared|ready|set up|there|exists?|in (?:the |my )?{_CLOUD}|account|signed in|subscription"
    rf"|tenant)\b", _I)
_TEARDOWN = re.compile(
    rf"\b(?:tear(?:ing)?(?: it| everything| all)?[ -]?down|take down|delete|remove|destroy|clean(?: up)?|wipe|get rid of|purge|lösche?|"
    rf"entferne|räume?|baue?)\b.{{0,50}}\b(?:{_CLOUD}|resource group|ressourcengruppe)\b|\bteardown_cloud\b"
    rf"|\b{_CLOUD}\b.{{0,30}}\b(?:abbauen|aufräumen|löschen|wegräumen)\b|^(?:please )?tear(?: it| everything)? down\W*$", _I)
_ONE_THING = re.compile(r"\b(?:deployments?|endpoints?|served|runs?|training|results?|checkpoints?|models?|logs?|datasets?)\b", _I)
_EXPIRED = re.compile(r"\b(?:delete|remove|clean(?: up)?|lösche?)\b.{0,30}\b(?:expired|finished|old|abgelaufene?n?)\b.{0,20}\bjobs?\b", _I)
_CLEAR = re.compile(r"\b(?:delete|remove|clean(?: up)?|lösche?)\b.{0,30}\b(?:orphan\w*|verwaiste?n?)\b", _I)
_STOP_ONE = re.compile(r"\b(?:stop|end|kill|halt|beende|stoppe?)\b", _I)
_FETCH = re.compile(
    r"\b(?:fetch|download|retrieve|copy (?:back|down)|bring (?:back|home|down)|hole?|lade?)\b.{0,40}\b(?:results?|outputs?|artifacts?|"
    r"artefacts?|ergebnisse?)\b|\bfetch_results\b", _I)
_FETCH_FROM = re.compile(
    rf"\b(?:fetch|download|retrieve|get|pull|copy|bring|hole?|lade?)\b.{{0,50}}\b(?:from|aus|out of|von)\b.{{0,12}}\b"
    rf"(?:{_CLOUD}|the share)\b",
    _I)
_ADOPT = re.compile(
    r"\b(?:adopt(?:_run)?|take over|übernimm|übernehme?)\b.{0,40}\b(?:run|job|execution|orphan\w*|luthier-run\S*|lauf)\b", _I)
_ORPHANS = re.compile(
    r"\b(?:orphan\w*|stray|unknown|forgotten|verwaiste?n?)\b.{0,30}\b(?:jobs?|runs?|executions?|cloud|azure|apps?)\b|\borphans\b", _I)
_SPENT = re.compile(
    rf"\b(?:has|have|did|does)\b.*\b(?:{_CLOUD})\b.*\b(?:cost|charged?|billed)\b|\b(?:spen[dt]|spending|bill(?:ed)?|paid|ausgegeben|gekostet|"
    rf"rechnung|invoice|charged)\b.*\b{_CLOUD}\b|\b{_CLOUD}\b.*\b(?:spending|bill|invoice|rechnung|gekostet|so far)\b", _I)
_COST = re.compile(
    r"\b(?:costs?|prices?|pricing|priced|expensive|cheap\w*|how much|pay|rates?|estimate|quote|kosten|kostet|teuer|preis|wie viel|wieviel|"
    r"how long|wie lange)\b", _I)
_TRAIN = re.compile(
    r"\b(?:(?:re-?)?train(?:ing|iere)?|(?:fine-?)?tun(?:e|ing)|run|start|launch|teach|do|use|rent|hire|take|put|execute|trainier\w*|nutze|"
    r"miete|starte|mach)\b", _I)
_RUNS = re.compile(
    r"\b(?:deploy\w*|serve|host|endpoint|resume|continue|go on|carry on|move|stop|cancel|logs?|status|runs|weiter|setze)\b", _I)
_DEPLOYS = re.compile(r"\b(?:deploy|serve|host|publish|put|push|upload)\b", _I)
_MOVE = re.compile(
    r"\b(?:move|continue|resume|carry on|go on|take|bring|pick|finish|proceed|verlege|setze?|mach\w*|führe)\b.{0,50}\b(?:azure|cloud|here|"
    r"local(?:ly)?|this machine|this computer|my machine|hier|lokal|diesem rechner|a100|t4)\b", _I)
_GOING_ON = re.compile(r"\b(?:continue|resume|carry on|go on|proceed|finish|weiter|fort)\b", _I)
_ITS = re.compile(r"\b(?:it|the run|run|training|this|that|lauf|es|das training)\b|\b[0-9a-hjkmnp-tv-z]{10}\b", _I)
_SIGN_IN = re.compile(
    rf"\b(?:log ?in|sign ?in|connect|authenticate|anmelden|melde)\b.{{0,40}}\b{_CLOUD}\b"
    rf"|\b{_CLOUD}\b.{{0,30}}\b(?:log ?in|sign ?in|anmelden)\b",
    _I)
_WHO = re.compile(rf"\b(?:am i|who|which|wer|welche\w*)\b.{{0,50}}\b{_CLOUD}\b|\b{_CLOUD} (?:account|subscription|tenant)\b", _I)

ACTING = frozenset({"teardown_cloud", "fetch_results", "adopt_run", "stop_orphan"})
"""Of the cloud's own tools those that do more than look; `prepare_cloud` does unless it runs dry."""
SIGN_IN = (
    "Luthier keeps no password and no client secret of yours. Sign in on this machine with `az login` (or set LUTHIER_AZURE_SIGN_IN to the "
    "credential that it has), then say “prepare the cloud”: the plan names account, tenant and subscription before anything is made."
)
ELSEWHERE = (
    "Luthier trains and serves on this machine or on Azure Container Apps; {place} is not in this version. Say “on azure”, or leave the "
    "place out for this machine."
)
ONE_GPU = (
    "One run has one GPU in Azure: the serverless profiles hold one T4 (16 GB) or one A100 (80 GB) each. Say “run it on an A100”; for "
    "several settings at once a sweep on this machine is the way."
)
TEAR_DOWN = "Tear down the cloud"
WHICH_EXECUTION = "Which execution? Its name looks like luthier-run-4k2j8m9qxz-ab12c3d; “show the orphans” lists those that nobody knows."
OFFERS = (("What would be made", "What would you create in Azure?"), ("Prepare the cloud", "Prepare the cloud"),
          ("What it costs there", "What would it cost on Azure?"))
CLOUD = (
    "In Azure I can prepare the cloud, estimate (“what would it cost on azure?”), train (“run it on azure”), fetch results, deploy "
    "(“deploy it on azure”), show the resources and tear all of it down. Money is spent only after a person approves its card."
)


def read_cloud(text: str, slots: Slots, place: Place) -> Move | None:
    """What the words ask of the cloud itself; None where they are about something else, the rules, or doubtful."""
    if _RULES.search(text):
        return None
    doubt = is_doubtful(text)
    return _looks(text, place, doubt) or (None if doubt else _acts(text, slots, place))


def wants_estimate(text: str, place: Place) -> bool:
    """Whether the words ask what something would cost or take in Azure."""
    return place.provider == "azure" and bool(_COST.search(text)) and not (_RULES.search(text) or _SPENT.search(text))


def wants_training(text: str, place: Place) -> bool:
    """Whether the words ask for a run in Azure, without a doubt."""
    named = place.provider == "azure" and bool(_TRAIN.search(text)) and not (_RULES.search(text) or _RUNS.search(text))
    return named and not is_doubtful(text)


def wants_placing(text: str) -> bool:
    """Whether the words ask for a run or a deployment somewhere, without a doubt."""
    return bool(_TRAIN.search(text) or _DEPLOYS.search(text)) and not (_RULES.search(text) or is_doubtful(text))


def moves_run(text: str, slots: Slots, place: Place) -> Do | None:
    """“Continue it on azure”, “move the run here”: the resume that names a place."""
    if not place.provider or slots.dataset or is_doubtful(text) or _RULES.search(text) or not _MOVE.search(text) or not _ITS.search(text):
        return None
    if not _GOING_ON.search(text) and not re.search(r"\b(?:move|verlege|bring|take)\b", text, _I):
        return None
    named = {"run_id": slots.runs[0]} if slots.runs else {}
    return Do("resume_run", {**named, "provider": place.provider})


def acts(move: Do) -> bool:
    """Whether a call of the cloud's own tools does more than look."""
    return move.tool in ACTING or (move.tool == "prepare_cloud" and not move.args.get("dry_run"))


def _looks(text: str, place: Place, doubt: bool) -> Move | None:
    """Requests that change nothing: they are read even as questions."""
    if _SPENT.search(text):
        return Do("spend_report")
    if _COST.search(text):
        return None
    if _DRY.search(text) and (place.provider == "azure" or not _ONE_THING.search(text)):
        return Do("prepare_cloud", {**_where(place), "dry_run": True})
    if _ORPHANS.search(text) and not (_ADOPT.search(text) or _CLEAR.search(text) or place.thing):
        return Do("list_runs")
    if _SIGN_IN.search(text):
        return Say(SIGN_IN, OFFERS[:2])
    if _PREPARE.search(text) or _TEARDOWN.search(text) or _TRAIN.search(text):
        return None
    if _WHO.search(text) or (_SHOW.search(text) and _THINGS.search(text) and not _ONE_THING.search(text)):
        return Do("prepare_cloud", {**_where(place), "dry_run": True})
    return None


def _acts(text: str, slots: Slots, place: Place) -> Move | None:
    run: dict[str, Any] = {"run_id": slots.runs[0]} if slots.runs else {}
    if _EXPIRED.search(text) or _CLEAR.search(text):
        return Do("teardown_cloud", {"only": "expired" if _EXPIRED.search(text) else "orphans"})
    if place.thing and _STOP_ONE.search(text):
        return Do("stop_orphan", {"name": place.thing})
    if _TEARDOWN.search(text) and not _ONE_THING.search(text):
        return teardown(place.group) if place.group else Do("teardown_cloud")
    if _ADOPT.search(text):
        return Do("adopt_run", {"execution": place.execution}) if place.execution else Say(WHICH_EXECUTION, asks=Asks("execution", text))
    if _FETCH.search(text) or _FETCH_FROM.search(text):
        return Do("fetch_results", run)
    if _PREPARE.search(text) and (not _GETS.search(text) or _READY.search(text)):
        return Do("prepare_cloud", _where(place))
    return None


def teardown(group: str) -> Do:
    """The teardown of one group, which its person has named."""
    return Do("teardown_cloud", {"resource_group": group, "confirm": group})


def confirms(facts: Mapping[str, Any], said: str) -> Say | None:
    """The question for the group's name, where a teardown waits for it to be typed; None for every other answer."""
    if facts.get("kind") != "confirm":
        return None
    return Say(f"{said} Type its name here and I ask for the approval; say anything else to leave it.", asks=Asks("group", TEAR_DOWN))


def _where(place: Place) -> dict[str, Any]:
    found = {"region": place.region, "resource_group": place.group}
    return {name: value for name, value in found.items() if value}
