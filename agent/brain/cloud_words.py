"""What the command assistant says of the cloud's results and failures: sentences made of typed facts, with the next step."""

from collections.abc import Callable, Mapping
from typing import Any

from agent.brain.units import cents

Facts = Mapping[str, Any]
Choices = tuple[tuple[str, str], ...]

_RISKS = {"low": "quota is free, starts within minutes", "waits": "the quota is in use, waits for a free GPU",
          "unknown": "quota unknown", "none": "no quota"}
_OFFERS: Mapping[str, Choices] = {
    "not_prepared": (("What would be made", "What would you create in Azure?"), ("Prepare the cloud", "Prepare the cloud")),
    "signin": (("How to sign in", "How do I sign in to Azure?"),),
    "not_installed": (("How to install it", "How do I install the Azure part?"),),
    "quota": (("Other places", "What would it cost on Azure?"), ("Train here", "Fine-tune the bundled model here")),
    "price": (("What it costs here", "Estimate the cost on this machine"),),
}


def choices_after(facts: Facts) -> Choices:
    """Buttons for what helps after a refusal or failure of the cloud; none where nothing stands to reason."""
    return _OFFERS.get(str(facts.get("error_kind")), ()) if facts.get("status") in ("refused", "failed") else ()


def say_places(facts: Facts) -> str:
    """Priced places, cheapest first; empty where there are none."""
    places = [each for each in facts.get("places") or [] if isinstance(each, Mapping)][:3]
    if not places:
        return ""
    lines = [_place(number, each) for number, each in enumerate(places, 1)]
    first = places[0]
    unprepared = f" The first is not prepared yet: say “prepare the cloud in {first.get('region')}”."
    unprepared = unprepared if first.get("prepared") is False and facts.get("can_start") is not False else ""
    return f" In Azure: {'; '.join(lines)}.{unprepared}"


def say_blocked(facts: Facts) -> str:
    """Why nothing of an estimate can start, and what to ask for; empty where something can."""
    if facts.get("can_start") is not False:
        return ""
    asks = " ".join(str(each) for each in (facts.get("remedies") or [])[:1])
    return f" Nothing can start there yet: {facts.get('reason') or 'something is in the way'}. {asks}".rstrip()


def _place(number: int, place: Facts) -> str:
    amounts = (("{} USD an hour", "per_hour"), ("likely {}", "likely"), ("at most {}", "ceiling"))
    money = [words.format(place[name]) for words, name in amounts if place.get(name)]
    risk = _RISKS.get(str(place.get("risk")))
    said = ", ".join([*money, *([risk] if risk else [])])
    return f"({number}) {place.get('gpu') or 'CPU'} in {place.get('region', '?')}{f': {said}' if said else ''}"


def _prepared(facts: Facts) -> str:
    region = facts.get("region") or "its region"
    count, missing = facts.get("resources", "?"), facts.get("missing")
    group = f" in the group {facts['resource_group']}" if facts.get("resource_group") else ""
    if facts.get("state") == "listed":
        if missing == 0:
            return f"{region} is prepared: all {count} resources are there{group}. You can say “run it on azure”."
        return (
            f"The result shows the account, the subscription and each resource. For {region} I would make or change "
            f"{missing if missing is not None else 'some'} of {count} resources{group}; the others are there. Nothing was made. Say "
            "“prepare the cloud” for a plan to approve."
        )
    return f"{region} is prepared{group}. Nothing costs by the hour until something runs. You can say “run it on azure”."


def _torn(facts: Facts) -> str:
    left, gone = facts.get("left_of_ours"), facts.get("deleted")
    count = f"{gone} resource{'' if gone == 1 else 's'}" if isinstance(gone, int) else "What was meant"
    verb = "is" if gone == 1 or not isinstance(gone, int) else "are"
    if facts.get("state") == "incomplete":
        still = f"{left} of ours remain" if left else f"{facts.get('failed', 'some')} could not be deleted"
        return f"{count} {verb} gone, but {still}; the result names them. Say “tear down the cloud” again: it goes on where it stopped."
    if facts.get("state") == "cleared":
        return f"{count} {verb} deleted."
    group = " The group is deleted too." if facts.get("group_deleted") else ""
    return f"{count} {verb} gone, and a second look found nothing of ours.{group} What was spent stays in the spending report."


def _fetched(facts: Facts) -> str:
    run, files = facts.get("run_id", ""), facts.get("count", "?")
    sure = "each verified against the manifest" if facts.get("verified") else "but not all could be verified; the result says which"
    return f"{files} files of run {run} are on this machine, {sure}."


def _adopted(facts: Facts) -> str:
    return f"The execution is now run {facts.get('run_id', '')} of the book. Say “how is the run going?” or “fetch the results”."


def _orphan_stopped(facts: Facts) -> str:
    name = facts.get("name", "")
    return f"{name or 'It'} is {facts.get('state', 'stopping')}. Its files stay; “delete the orphan {name}” takes it away."


def _orphans(facts: Facts) -> str:
    """What nobody knows, each with its cost and the words that do something about it; then what has expired."""
    found, total, expired = facts.get("orphans") or [], facts.get("total") or 0, facts.get("expired") or 0
    old = ""
    if expired:
        old = (f" {expired} job{'' if expired == 1 else 's'} or app{'' if expired == 1 else 's'} of ended runs "
               f"{'is' if expired == 1 else 'are'} past {'its' if expired == 1 else 'their'} expiry: say “delete the expired jobs”.")
    if not total:
        return f"Everything of Luthier's in Azure stands in its book.{old}"
    head = f"{total} in Azure {'bears' if total == 1 else 'bear'} Luthier's tags and {'stands' if total == 1 else 'stand'} in no book"
    more = f" and {total - len(found)} more, which the result shows" if total > len(found) else ""
    lines = "".join(f"\n- {_orphan(each)}" for each in found)
    return f"{head}; none is touched by itself.{lines}{more}{old}"


def _orphan(found: Facts) -> str:
    name, running = found.get("name", "?"), found.get("running")
    spent = "an unknown amount" if found.get("spent") is None else f"{found['spent']} USD"
    ways = [f"“adopt {found['execution']}”" if found.get("execution") else "", f"“stop the orphan {name}”" if running else "",
            f"“delete the orphan {name}”"]
    return (f"the {found.get('kind', 'job')} {name} in {found.get('region', '?')} {'runs' if running else 'does not run'}, {spent} so far: "
            f"say {' or '.join(each for each in ways if each)}")


def where_it_runs(facts: Facts) -> str:
    """A cloud run's start in words; empty for a run on this machine."""
    if not facts.get("cloud") and not str(facts.get("where") or "").startswith("Azure"):
        return ""
    return (
        f"Run {facts.get('run_id', '')} is on its way to {facts.get('where') or 'Azure'}: its files are uploaded, then the job starts. "
        "The card shows where it is and what it has cost; its stop rules hold, even when Luthier is closed."
    )


def say_spent(facts: Facts) -> str:
    """Accruing and billed money; empty where there is none."""
    currency = facts.get("currency", "USD")
    accruing, billed = facts.get("accruing"), facts.get("billed")
    parts = (("running up now", accruing), ("billed by Azure so far", billed))
    said = "; ".join(f"{name}: {cents(amount)} {currency}" for name, amount in parts if _some(amount))
    return f" {said[:1].upper()}{said[1:]}." if said else ""


def _some(amount: Any) -> bool:
    return amount not in (None, "", "0", "0.00", {})


CLOUD_WORDS: dict[str, Callable[[Facts], str]] = {
    "prepare_cloud": _prepared, "teardown_cloud": _torn, "fetch_results": _fetched, "adopt_run": _adopted,
    "stop_orphan": _orphan_stopped, "list_orphans": _orphans,
}
