"""What to do next in a conversation, decided from its messages alone: the same messages give the same move."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage

from agent.brain import blanks, cloud, phrases
from agent.brain.cloud_words import choices_after
from agent.brain.deployments import NOT_OPEN, read_deploying, wants_open
from agent.brain.earlier import NOTICE, earlier, with_memory, with_plan
from agent.brain.faq import Faq
from agent.brain.intents import DEFAULT_DATA, INTENTS, OFFERED_FIRST, Intent, is_doubtful, may_act, offer
from agent.brain.moves import Asks, Do, Move, Say, Step
from agent.brain.place import Place, read_place
from agent.brain.questions import read_question
from agent.brain.requests import plan, which_values
from agent.brain.router import Router
from agent.brain.ruling import action_of, ask_rules
from agent.brain.slots import Slots, read_slots
from agent.brain.sweeps import SETTINGS, is_wanted, may_be_wanted, read_sweep
from agent.brain.words import facts_of, say_notice, say_result, went_well

MEMORY = "luthier"
"""Key of a message's additional data: what the assistant asked, offered, or does next."""
CHOICES = "choices"
ACT_AT = 0.5
WORDS_AT_MOST = 8
"""Data and a place in so few words ask for a run, even without a verb."""
READ_CHARACTERS = 2_000
"""Of a long message only the beginning is read as a request; all of it may be a prompt for a model."""
WITHDRAW = "withdraw_proposal"


@dataclass(frozen=True)
class Scene:
    """What the assistant can see: the messages, the tools it may call, and what waits for a person."""

    messages: Sequence[AnyMessage]
    tools: Collection[str]
    waiting: Sequence[Mapping[str, Any]] = ()
    reading_only: bool = False


class Dialogue:
    """Reads requests with the router and the slots; asks what is missing and offers choices when unsure."""

    def __init__(self, router: Router, faq: Faq) -> None:
        self._router, self._faq = router, faq

    def next(self, scene: Scene) -> Move:
        """The move that follows the messages."""
        start = max((place for place, each in enumerate(scene.messages) if isinstance(each, HumanMessage)), default=-1)
        if start < 0:
            return Say(phrases.HELLO, phrases.FIRST_CHOICES)
        results = [each for each in scene.messages[start + 1 :] if isinstance(each, ToolMessage)]
        if results:
            return self._go_on(scene, results)
        if notice := scene.messages[start].additional_kwargs.get(NOTICE):
            return Say(say_notice(notice), choices_after(notice.get("facts") or {}))
        return self._answer(scene, str(scene.messages[start].text).strip(), scene.messages[:start])

    def _go_on(self, scene: Scene, results: Sequence[ToolMessage]) -> Move:
        last = results[-1]
        if typed := cloud.confirms(facts_of(last)):
            return typed
        said = say_result(str(last.name), facts_of(last))
        calling = next((each for each in reversed(scene.messages) if isinstance(each, AIMessage)), None)
        if which := blanks.which(str(last.name), facts_of(last), calling):
            return self._checked(scene, which)
        then = _memory(calling).get("then") or []
        if not then or not went_well(last):
            return Say(said, choices_after(facts_of(last)))
        step = blanks.filled((then[0][0], then[0][1]), facts_of(last))
        if isinstance(step, Say):
            return step
        told = said if step == (then[0][0], then[0][1]) else ""
        return self._checked(scene, Do(*step, told, tuple((name, given) for name, given in then[1:])))

    def _answer(self, scene: Scene, text: str, before: Sequence[AnyMessage]) -> Move:
        last = next((each for each in reversed(before) if isinstance(each, AIMessage)), None)
        text = _chosen(text, last) or text
        open_question = _memory(last).get("asks")
        if open_question and (completed := self._completed(scene, text, Asks(**open_question))):
            return completed
        if question := read_question(text):
            return self._checked(scene, plan("ask_model", text, read_slots(text[:READ_CHARACTERS]), question))
        text = cloud.spelt(text[:READ_CHARACTERS])
        if short := self._short(scene, text):
            return short
        if amended := self._amended(scene, text, before):
            return amended
        return self._routed(scene, text, before)

    def _short(self, scene: Scene, text: str) -> Move | None:
        """“yes”, “no”, “cancel”: they answer the assistant's own questions and never decide an approval."""
        if len(text) > 60:
            return None
        if phrases.YES.fullmatch(text):
            return Say(
                phrases.card(scene.waiting) if scene.waiting else phrases.NOTHING_OPEN, () if scene.waiting else phrases.FIRST_CHOICES
            )
        if phrases.NO.fullmatch(text):
            return Say(phrases.no_card(scene.waiting) if scene.waiting else phrases.NOTHING_OPEN)
        if phrases.FORGET.fullmatch(text):
            mine = [each for each in scene.waiting if each.get("mine")]
            if mine and WITHDRAW in scene.tools:
                return Do(WITHDRAW, {"approval_id": str(mine[-1]["approval_id"])})
            if scene.waiting:
                return Say(phrases.no_card(scene.waiting))
            return Say(phrases.NOTHING_WAITS, (offer("cancel_run", Slots()), offer("list_runs", Slots())))
        return None

    def _completed(self, scene: Scene, text: str, asks: Asks) -> Move | None:
        """The request that lacked something, now with it; None when the person says something else instead."""
        if asks.missing == "action":
            return self._checked(scene, ask_rules(f"{asks.request} {text}", self._router)) if action_of(text, self._router)[0] else None
        if asks.missing == "values":
            joined = _with_values(asks.request, text)
            return self._swept(scene, joined, ()) if joined else None
        slots, place = read_slots(text), read_place(text)
        if asks.missing in ("group", "execution"):
            return self._named(scene, asks.missing, text, place)
        found = {
            "dataset": slots.dataset,
            "path": slots.path,
            "format": slots.format,
            "prompt": text if not phrases.COMMAND.match(text) else None,
        }.get(asks.missing)
        if found is None and asks.missing == "dataset" and phrases.YES.fullmatch(text):
            found = DEFAULT_DATA
        if not found:
            return None
        joined = f"{asks.request}: {found}" if asks.missing == "prompt" else f"{asks.request} {found}"
        return self._checked(scene, plan(_intent_of(asks.request, self._router), joined, read_slots(joined)))

    def _named(self, scene: Scene, missing: str, text: str, place: Place) -> Move | None:
        """The teardown of the group, or the adoption of the execution, that was asked for by name."""
        word = text.strip().strip("\"'“”„.!").strip()
        alone = word if re.fullmatch(r"[A-Za-z0-9][\w().-]{2,89}", word) and not phrases.COMMAND.match(word) else ""
        if missing == "execution":
            return self._checked(scene, Do("adopt_run", {"execution": place.execution})) if place.execution else None
        group = place.group or ("" if phrases.YES.fullmatch(word) or phrases.NO.fullmatch(word) else alone)
        return self._checked(scene, cloud.teardown(group)) if group else None

    def _amended(self, scene: Scene, text: str, before: Sequence[AnyMessage]) -> Move | None:
        """“Make it 5 epochs” while a plan waits: a newer proposal with the changed setting, which replaces the older."""
        slots, place = read_slots(text), read_place(text)
        waits = any(each.get("tool") == "start_finetune" for each in scene.waiting)
        if (
            not waits
            or not (slots.settings or slots.dataset or slots.model or place.provider or place.gpu or place.budget_usd)
            or not phrases.AMEND.search(text)
            or phrases.NEGATED.search(text)
        ):
            return None
        planned = earlier(before, "start_finetune")
        if planned is None:
            return None
        changed = {name: value for name, value in (("dataset", slots.dataset), ("model", slots.model)) if value}
        kept = place.moved(planned)
        swept = read_sweep(str(kept.get("sweep", "")))
        if swept and SETTINGS[swept.of] in slots.settings:
            del kept["sweep"]
        if (anew := read_sweep(str(slots.settings.get("sweep", "")))) is not None:
            kept.pop(SETTINGS[anew.of], None)
        return self._checked(scene, Do("start_finetune", {**kept, **slots.settings, **changed}, "I make a new plan with that."))

    def _swept(self, scene: Scene, text: str, before: Sequence[AnyMessage]) -> Move | None:
        """Several values of one setting, where runs are asked for: one plan for all. None where the words are about something else."""
        named, slots = read_sweep(text), read_slots(text)
        if named is None or is_doubtful(text) or not (is_wanted(text) or (named.values and slots.dataset and may_be_wanted(text))):
            return None
        if not named.values:
            return which_values(text, named.of)
        return self._checked(scene, plan("start_finetune", text, slots if slots.dataset else with_memory(slots, before)))

    def _clouded(self, scene: Scene, text: str, before: Sequence[AnyMessage]) -> Move | None:
        """What the words ask of Azure; None where they are about something else."""
        slots, place = read_slots(text), read_place(text)
        if place.foreign and cloud.wants_placing(text):
            return Say(cloud.ELSEWHERE.format(place=place.foreign), cloud.OFFERS)
        if place.vague and cloud.wants_placing(text):
            return Say(cloud.WHICH_REGION, cloud.OFFERS[2:])
        if quota := cloud.about_quota(text, place):
            move = self._clouded(scene, quota, before)
            return replace(move, text=cloud.QUOTA) if isinstance(move, Say) and move.asks else move
        if place.many and cloud.wants_training(text, replace(place, provider="azure")):
            return Say(cloud.ONE_GPU)
        if move := cloud.moves_run(text, slots, place) or cloud.read_cloud(text, slots, place):
            return self._checked(scene, move)
        named = slots.dataset and place.provider == "azure" and not is_doubtful(text) and not text.rstrip().endswith("?")
        if not (cloud.wants_estimate(text, place) or cloud.wants_training(text, place) or (named and len(text.split()) <= WORDS_AT_MOST)):
            return None
        slots = slots if slots.dataset else with_memory(with_plan(slots, before), before)
        return self._checked(scene, plan(_intent_of(text, self._router), text, slots))

    def _routed(self, scene: Scene, text: str, before: Sequence[AnyMessage]) -> Move:
        found = self._router.probabilities(text)
        name, sure = next(iter(found.items()))
        if text[:1] in "{[<":
            return Say(phrases.PASTED)
        if swept := self._swept(scene, text, before):
            return swept
        if wants_open(text):
            return Say(NOT_OPEN)
        if clouded := self._clouded(scene, text, before):
            return clouded
        if deploying := read_deploying(text, read_slots(text)):
            return self._checked(scene, deploying)
        answer, likeness = self._faq.find(text)
        if name == "forget" and sure >= ACT_AT and (short := self._short(scene, "forget it")):
            return short
        if answer is not None and name == "cloud":
            return Say(answer)
        if spoken := phrases.SPOKEN.get(name) if sure >= ACT_AT else None:
            return Say(*spoken)
        intent = INTENTS.get(name)
        if intent is None or sure < ACT_AT or not may_act(intent, text):
            if answer is not None and (name == "knowledge" or intent is None or not may_act(intent, text) or likeness > 0.6):
                return Say(answer)
            if name == "knowledge" and sure >= ACT_AT:
                return Say(phrases.NO_ANSWER, self._unsure(text, found).choices)
            return self._unsure(text, found)
        if name == "explain_policy":
            return self._checked(scene, ask_rules(text, self._router))
        slots = read_slots(text)
        if intent.need_dataset and slots.dataset is None:
            slots = with_memory(slots, before)
        return self._checked(scene, plan(name, text, slots))

    def _unsure(self, text: str, found: Mapping[str, float]) -> Say:
        slots = read_slots(text)
        likely = [name for name in found if name in INTENTS][:3]
        lost = next(iter(found)) == "none"
        names = list(OFFERED_FIRST) if lost and next(iter(found.values())) >= ACT_AT else likely
        return Say(phrases.UNSURE, tuple(offer(name, slots) for name in names))

    def _checked(self, scene: Scene, move: Move) -> Move:
        """Only tools that are there; and, standing in for another brain, only those that look."""
        if isinstance(move, Say):
            return move
        if scene.reading_only and any(cloud.acts(*step) for step in ((move.tool, move.args), *move.then)):
            return Say(phrases.READING_ONLY)
        intent: Intent | None = INTENTS.get(move.tool)
        then: tuple[Step, ...] = tuple(step for step in move.then if step[0] in scene.tools)
        if move.tool in scene.tools:
            return Do(move.tool, move.args, move.text, then)
        return Do(then[0][0], then[0][1], move.text, then[1:]) if then else Say(phrases.no_tool(intent.label if intent else move.tool))


def _memory(message: AIMessage | None) -> Mapping[str, Any]:
    return message.additional_kwargs.get(MEMORY) or {} if message is not None else {}


def _chosen(text: str, last: AIMessage | None) -> str | None:
    """The sentence behind “2”, “the second” or a button's label, when the last answer offered choices."""
    options: list[Any] = list(last.additional_kwargs.get(CHOICES) or ()) if last is not None else []
    word = re.sub(r"^(?:option|number|the|choice)\s+|\s+(?:one|option)$|[.!)]+$", "", text.lower()).strip()
    places = {"1": 0, "first": 0, "one": 0, "2": 1, "second": 1, "two": 1, "3": 2, "third": 2, "three": 2, "last": len(options) - 1}
    if word in places and places[word] < len(options):
        return str(options[places[word]][1])
    return next((str(sentence) for label, sentence in options if str(label).lower() == text.lower()), None)


def _with_values(request: str, text: str) -> str | None:
    """A request for a sweep together with the values that were named after it; None when the answer holds none."""
    named = read_sweep(request)
    for joined in (f"{request}: {text}", f"{request}: {named.of if named else ''} {text}"):
        if (found := read_sweep(joined)) is not None and found.values:
            return joined
    return None


def _intent_of(request: str, router: Router) -> str:
    place = read_place(request)
    if cloud.wants_estimate(request, place):
        return "estimate_cost"
    if cloud.wants_training(request, place):
        return "start_finetune"
    if (swept := read_sweep(request)) is not None and swept.values and is_wanted(request):
        return "start_finetune"
    found = [name for name in router.probabilities(request) if name in INTENTS]
    return found[0]
