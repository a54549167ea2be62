"""Azure in words: “run it on Azure”, “prepare the cloud”, “fetch the results”, “tear down the cloud”; what each of them comes to."""

import re
from collections.abc import Mapping
from typing import Any

from agent.brain.intents import INTENTS, is_doubtful
from agent.brain.moves import Asks, Do, Move, Say
from agent.brain.place import Place
from agent.brain.requests import plan
from agent.brain.slots import Slots, read_slots

_I = re.IGNORECASE
_RULES = re.compile(r"\b(?:allow(?:ed)?|permi\w+|polic\w+|rules?|darf)\b", _I)
_CLOUD = r"(?:azure|clouds?|container apps?)"
_TYPOS = re.compile(
    r"\b(?:azur|azrue|azuer|azuree|azzure|auzre|azre|azue|asure|azuré|ms azure|microsoft azure)\b|\b(?:clould|cluod|nube)\b", _I)
_DRY = re.compile(
    r"\bdry[ -]?run\b|\b(?:only|just) (?:show|list|look|tell)\b|\bshow me what (?:you|it|that) (?:would|will)\b|"
    r"\bwhat (?:would|does|will) prepare_cloud\b|\bwhat (?:would|will|do|does) (?:you|luthier|it|that|preparing\b.*|setting\b.*) (?:then )?"
    r"(?:create|make|build|set up|put|need|prepare)\b|\bwas (?:würdest|wirst|legst) du\b.*\b(?:an(?:legen)?|erstellen|machen)\b"
    r"|\bwhat (?:gets|is|would be) (?:created|deleted)\b|\bwhat would (?:a|the) teardown\b"
    rf"|\b(?:preview|list)\b.*\b(?:preparation|what .*{_CLOUD} needs)\b", _I)
_PREPARE = re.compile(
    rf"\b(?:prepare|set ?up|provision|initiali[sz]e|get|make|bereite|richte)\b.{{0,40}}\b{_CLOUD}\b(?:.{{0,30}}\b(?:ready|vor|ein)\b)?"
    rf"|\b{_CLOUD}\b.{{0,30}}\b(?:vorbereiten|einrichten|up and ready)\b"
    r"|\bcreate (?:the|a|my|all)\b.{0,12}\b(?:resource group|(?:azure|cloud) resources|resources in (?:azure|the cloud))\b"
    r"|\buse (?:the|my|our)\b.{0,20}\bresource group\b|\bpr[eé]par[ae]?r?\b.{0,20}\bazure\b|\bprepare_cloud\b",
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
_CLEAR = re.compile(
    r"\b(?:delete|remove|clean(?: up)?|clear|get rid of|lösche?)\b.{0,30}\b(?:orphan\w*|verwaiste?n?|luthier-(?:run|app)-\w+)", _I)
_STOP = re.compile(r"\b(?:stop|end|kill|halt|cancel|abort|pause|suspend|terminate|beende|stoppe?|brich)\b", _I)
_STOP_ALL = re.compile(
    rf"\b(?:stop|end|kill|halt|cancel)\b.{{0,20}}\b(?:everything|all|anything)\b.{{0,30}}\b(?:{_CLOUD}|money|costs?|runs)\b"
    r"|\b(?:don'?t|do not|no longer) want to (?:pay|spend)\b|\bstop (?:paying|the money|costing)\b"
    r"|^(?:please )?(?:delete|remove|stop|end|kill) (?:it all|everything|all)\W*$", _I)
_JOB = re.compile(r"\b(?:run|job|training|execution|lauf|it|that)\b", _I)
_STANDS = re.compile(
    rf"^(?:so |and |hey )?(?:how(?:'s| is)|what(?:'s| is)|is|has|why (?:is|does|has|isn'?t|doesn'?t|hasn'?t|can'?t)|läuft|wartet|warum)\b"
    r".{0,20}\b(?:it|job|run|training|lauf|er|image|download|upload)\b.{0,25}\b(?:wait(?:ing|s)?|queued?|pulled|"
    r"complete|(?:not )?start(?:ed|ing|s)?|running|pending|stuck|"
    rf"uploading|up to|begun|begin|wartet|läuft)\b"
    r"|^why (?:was|is|has) (?:it|the run|my run|the cloud run)\b.{0,12}\b(?:stopped|failed|killed|ended|cancelled|gestoppt)\b"
    r"|^(?:where|(?:on )?which (?:machine|gpu)) (?:does|is|did) (?:it|the run|my run)\b|^how long (?:does|has) it (?:been )?wait"
    rf"|^(?:how(?:'s| is)|what(?:'s| is))\b.{{0,12}}\b{_CLOUD} (?:run|job|training)\b", _I)
_RUNNING = re.compile(
    rf"^(?:what|which|is|are|anything|was|welche)\b.{{0,30}}\b(?:running|runs|going on|active|läuft|laufen)\b.{{0,12}}\b{_CLOUD}\b", _I)
_PUT = re.compile(rf"^(?:please )?put (?:it|this|that) (?:on|in|into|to) (?:the )?{_CLOUD}\W*$", _I)
_FETCH = re.compile(
    r"\b(?:fetch|download|retrieve|copy|bring|sync|hole?|lade?|télécharge|descarga)\b.{0,40}\b(?:results?|outputs?|artifacts?|"
    r"artefacts?|checkpoints?|ergebnisse?|résultats|resultados)\b|\bfetch_results\b"
    r"|\bfetch\b.{0,20}\b(?:adapter|weights|model|files)\b", _I)
_FETCH_FROM = re.compile(
    rf"\b(?:fetch|download|retrieve|get|pull|copy|bring|hole?|lade?)\b.{{0,50}}\b(?:from|aus|out of|von)\b.{{0,12}}\b"
    rf"(?:{_CLOUD}|the share)\b",
    _I)
_ADOPT = re.compile(
    r"\b(?:adopt(?:_run)?|take over|übernimm|übernehme?)\b.{0,40}\b(?:run|job|execution|orphan\w*|luthier-run\S*|lauf)\b", _I)
_ORPHANS = re.compile(
    r"\b(?:orphan\w*|stray|unknown|forgotten|leftovers?|verwaiste?n?)\b.{0,30}\b(?:jobs?|runs?|executions?|cloud|azure|apps?)\b|\borphans?\b"
    rf"|\b{_CLOUD}\b.{{0,40}}\b(?:nobody|no ?one|you (?:don'?t|do not)|luthier (?:doesn'?t|does not)|no book|niemand)\b.{{0,20}}"
    r"\b(?:knows?|kennt|in)\b"
    r"|\bnot in (?:the|your) book\b|\blist_orphans\b", _I)
_SPENT = re.compile(
    rf"\b(?:has|have|did|does)\b.*\b(?:{_CLOUD})\b.*\b(?:cost|charged?|billed)\b|\b(?:spen[dt]|spending|bill(?:ed)?|paid|ausgegeben|gekostet|"
    rf"rechnung|invoice|charged)\b.*\b{_CLOUD}\b|\b{_CLOUD}\b.*\b(?:spending|bill|invoice|rechnung|gekostet|so far)\b", _I)
_COST = re.compile(
    r"\b(?:costs?|prices?|pricing|priced|expensive|cheap\w*|how much|pay|rates?|estimate|quote|kosten|kostet|teuer|preis|wie viel|wieviel|"
    r"how long|wie lange)\b", _I)
_TRAIN = re.compile(
    r"\b(?:(?:re-?)?train(?:ing|iere)?|trian|tarin|traing|fin(?:e-?)?tunn?e?|same|now|instead|jetzt|entrena\w*|"
    r"entra[iî]ne\w*|(?:fine-?)?tun(?:e|ing)|run|start|launch|teach|do (?:it|this|that|the same|so)|use|rent|hire|take|put|"
    r"execute|trainier\w*|nutze|"
    r"miete|starte|mach)\b", _I)
_RUNS = re.compile(
    r"\b(?:deploy\w*|serve|host|endpoint|resume|continue|go on|carry on|move|stop|cancel|logs?|status|runs|weiter|setze)\b", _I)
_DEPLOYS = re.compile(r"\b(?:deploy|serve|host|publish|put|push|upload)\b", _I)
_MOVE = re.compile(
    r"\b(?:move|continue|resume|carry on|go on|take|bring|pick|finish|proceed|transfer|verlege|verschiebe|setze?|mach\w*|führe)\b.{0,50}"
    r"\b(?:azure|cloud|here|local(?:ly)?|this machine|this computer|my (?:machine|laptop|computer|pc)|hier|lokal|"
    r"diesem rechner|a100|t4)\b", _I)
_GOING_ON = re.compile(r"\b(?:continue|resume|carry on|go on|proceed|finish|pick (?:it|this|that|the run) up|weiter|fort)\b", _I)
_ITS = re.compile(r"\b(?:it|the run|run|training|this|that|lauf|es|das training)\b|\b[0-9a-hjkmnp-tv-z]{10}\b", _I)
_CARRIES = re.compile(r"\b(?:move|transfer|verlege|verschiebe|bring|take)\b", _I)
_CHEAPLY = re.compile(r"\b(?:as )?cheap\w*\b", _I)
_ORDERS = re.compile(r"^(?:please |now |then |can you |could you )*(?:train|fine-?tune|run|start|launch|use|rent|take)\b", _I)
_THAT_RUN = re.compile(r"\b(?:the|my|this|that|last|latest|cloud|azure) (?:\w+ )?runs?\b", _I)
_STRAYS = re.compile(r"\b(?:stop|kill|end|adopt|delete)\b.{0,12}\borphans?\b", _I)
_SIGN_IN = re.compile(
    rf"\b(?:log ?in|sign ?in|connect|authenticate|anmelden|melde)\b.{{0,40}}\b{_CLOUD}\b"
    rf"|\b{_CLOUD}\b.{{0,30}}\b(?:log ?in|sign ?in|anmelden)\b",
    _I)
_WHO = re.compile(
    rf"\b(?:am i|who|wer)\b.{{0,50}}\b{_CLOUD}\b|\b{_CLOUD} (?:account|subscription|tenant)\b", _I)
_ACCOUNT = re.compile(
    r"\bwho am i signed in\b|^(?:which|what|whose|welche\w*)\b.{0,30}\b(?:account|subscription|tenant|konto|abonnement)\b", _I)
_QUOTA = re.compile(r"\b(?:quotas?|kontingent)\b", _I)
_HAVE = re.compile(r"\b(?:my|i have|have i|do i|enough|is there|how much|reicht|habe ich|check|show)\b", _I)

ACTING = frozenset({"teardown_cloud", "fetch_results", "adopt_run", "stop_orphan", "deploy_inference", "redeploy", "stop_deployment"})
"""Tools beside those of the intents that do more than look; `prepare_cloud` does unless it runs dry."""
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
WHICH_EXECUTION = "Which execution? Its name looks like luthier-run-4k2j8m9qxz-ab12c3d; “show the orphans” lists what nobody knows."
WHICH_REGION = (
    "Europe has several regions: name one, such as swedencentral or italynorth. “What would it cost on azure?” lists the cheapest that "
    "have the GPU."
)
STOPS = (("Stop the run", "Stop the run"), ("Stop the deployment", "Stop the deployment"), (TEAR_DOWN, TEAR_DOWN))
STOP_ALL = (
    "Stopping never asks for a yes: “stop the run” and “stop the deployment” end what costs money by the hour. “Tear down the cloud” "
    "deletes all that Luthier made in Azure, after your approval."
)
BY_ITSELF = "A run that moves takes a GPU and a region that are prepared for it; the card shows which, and what it costs."
QUOTA = "Quota is asked of Azure together with the prices, for a run: which dataset? Name one, or take the sample."
PUT_THERE = "Train there, or serve what was trained there?"
PUTS = (("Train in Azure", "Run it on azure"), ("Serve it from Azure", "Deploy it on azure"))
OFFERS = (("What would be made", "What would you create in Azure?"), ("Prepare the cloud", "Prepare the cloud"),
          ("What it costs there", "What would it cost on Azure?"))
CLOUD = (
    "In Azure I can prepare the cloud, estimate (“what would it cost on azure?”), train (“run it on azure”), fetch results, deploy "
    "(“deploy it on azure”), show the resources and tear all of it down. Money is spent only after a person approves its card."
)


def spelt(text: str) -> str:
    """The words with Azure's name as it is written, where it was mistyped; what may be somebody's prompt stays as it is."""
    if re.search(r"[:\"“„]", text):
        return text
    return _TYPOS.sub(lambda found: "cloud" if found.group(0).lower()[0] in "cn" else "azure", text)


def read_cloud(text: str, slots: Slots, place: Place) -> Move | None:
    """What the words ask of the cloud itself; None where they are about something else, the rules, or doubtful."""
    if _RULES.search(text):
        return None
    if _STOP_ALL.search(text):
        return Say(STOP_ALL, STOPS)
    doubt = is_doubtful(text)
    return _looks(text, place) or (None if doubt else _acts(text, slots, place))


def wants_estimate(text: str, place: Place) -> bool:
    """Whether the words ask what something would cost or take in Azure."""
    asked = _CHEAPLY.sub("", text) if _ORDERS.match(text) else text
    return place.provider == "azure" and bool(_COST.search(asked)) and not (_RULES.search(text) or _SPENT.search(text))


def about_quota(text: str, place: Place) -> str:
    """The estimate that answers a question about one's quota, which is asked of Azure together with the prices; empty for all others."""
    if not _QUOTA.search(text) or not _HAVE.search(text) or re.search(r"\b(?:more|increase|raise|how do i|need|mehr)\b", text, _I):
        return ""
    gpu, region = f" on a {place.gpu}" if place.gpu else "", f" in {place.region}" if place.region else ""
    return f"what would it cost on azure{gpu}{region}"


def wants_training(text: str, place: Place) -> bool:
    """Whether the words ask for a run in Azure, without a doubt."""
    asks = _TRAIN.search(text if read_slots(text).dataset else _THAT_RUN.sub("", text))
    named = place.provider == "azure" and bool(asks) and not (_RULES.search(text) or _RUNS.search(text))
    return named and not is_doubtful(text)


def wants_placing(text: str) -> bool:
    """Whether the words ask for a run or a deployment somewhere, without a doubt."""
    return bool(_TRAIN.search(text) or _DEPLOYS.search(text)) and not (_RULES.search(text) or is_doubtful(text))


def moves_run(text: str, slots: Slots, place: Place) -> Do | None:
    """“Continue it on azure”, “move the run here”: the resume that names a place."""
    if not place.provider or slots.dataset or is_doubtful(text) or _RULES.search(text) or not _MOVE.search(text):
        return None
    carried = _ITS.search(text) and (_GOING_ON.search(text) or _CARRIES.search(text))
    if not (carried or re.match(r"\W*(?:please )?(?:resume|continue)\b", text, _I)):
        return None
    named = {"run_id": slots.runs[0]} if slots.runs else {}
    chosen = place.provider == "azure" and bool(place.gpu or place.region)
    return Do("resume_run", {**named, "provider": place.provider}, BY_ITSELF if chosen else "")


def acts(tool: str, args: Mapping[str, Any]) -> bool:
    """Whether a call does more than look. A question to a deployment may wake what is paid for."""
    if tool == "prepare_cloud":
        return not args.get("dry_run")
    if tool == "ask_model":
        return "deployment_id" in args
    return tool in ACTING or (tool in INTENTS and not INTENTS[tool].reads)


def _looks(text: str, place: Place) -> Move | None:
    """Requests that change nothing: they are read even as questions."""
    if _SPENT.search(text):
        return plan("spend_report", text, Slots())
    if _COST.search(text):
        return None
    if _DRY.search(text) and (place.provider == "azure" or not _ONE_THING.search(_DRY.sub("", text))):
        return Do("prepare_cloud", {**_where(place), "dry_run": True})
    if not (_ADOPT.search(text) or _CLEAR.search(text) or place.thing) and (_ORPHANS.search(text) or _STRAYS.search(text)):
        return Do("list_orphans")
    if _SIGN_IN.search(text):
        return Say(SIGN_IN, OFFERS[:2])
    if _ACCOUNT.search(text):
        return Do("prepare_cloud", {**_where(place), "dry_run": True})
    if _STANDS.search(text):
        return Do("run_status")
    if _RUNNING.search(text):
        return Do("list_runs", {"status": "running"}, then=(("list_deployments", {}),))
    if _PREPARE.search(text) or _TEARDOWN.search(text) or _TRAIN.search(text):
        return None
    if _WHO.search(text) or (_SHOW.search(text) and _THINGS.search(text) and not _ONE_THING.search(text)):
        return Do("prepare_cloud", {**_where(place), "dry_run": True})
    return None


def _acts(text: str, slots: Slots, place: Place) -> Move | None:
    run: dict[str, Any] = {"run_id": slots.runs[0]} if slots.runs else {}
    if _EXPIRED.search(text):
        return Do("teardown_cloud", {"only": "expired"})
    if _CLEAR.search(text):
        return Do("teardown_cloud", {"only": "orphans", **({"name": place.thing} if place.thing else {})})
    if place.thing and _STOP.search(text):
        return Do("stop_orphan", {"name": place.thing})
    if _TEARDOWN.search(text) and not _ONE_THING.search(text):
        return teardown(place.group) if place.group else Do("teardown_cloud")
    if _ADOPT.search(text):
        return Do("adopt_run", {"execution": place.execution}) if place.execution else Say(WHICH_EXECUTION, asks=Asks("execution", text))
    if place.provider == "azure" and _STOP.search(text) and _JOB.search(text):
        return Do("cancel_run", run)
    if _FETCH.search(text) or _FETCH_FROM.search(text):
        return Do("fetch_results", run)
    if _PREPARE.search(text) and (not _GETS.search(text) or _READY.search(text)):
        return Do("prepare_cloud", _where(place))
    if _PUT.search(text):
        return Say(PUT_THERE, PUTS)
    return None


def teardown(group: str) -> Do:
    """The teardown of one group, which its person has named."""
    return Do("teardown_cloud", {"resource_group": group, "confirm": group})


def confirms(facts: Mapping[str, Any]) -> Say | None:
    """The question for the group's name, where a teardown waits for it to be typed; None for every other answer."""
    if facts.get("error_kind") != "confirm":
        return None
    what = str(facts.get("reason") or "Everything of Luthier's in the group would be deleted for good.")
    asks = f"{what} Type the group's name here and I ask for the approval; say anything else to leave it."
    return Say(asks, asks=Asks("group", TEAR_DOWN))


def _where(place: Place) -> dict[str, Any]:
    found = {"region": place.region, "resource_group": place.group}
    return {name: value for name, value in found.items() if value}
