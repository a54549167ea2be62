"""`ask_model`: the tuned model answers, or the untuned one, or both side by side."""

from collections.abc import Mapping
from typing import ClassVar, Protocol

from pydantic import Field, JsonValue

from policies.proposal import Effect, Proposal
from policies.tool import Call, Recall, Result, ToolArgs, ToolFailed
from tools.models import ModelFolder
from tools.runs.logs import without_controls
from tools.runs.look import RUN_ID
from tools.runs.store import RunRow, RunStore
from tools.serve.answerer import Answered, Answerer, Label
from tools.serve.deploy_ask import DeployedModels
from tools.serve.files import PRECISION, ServedFiles

BUNDLED = "bundled"


class Models(Protocol):
    """Finds models: the catalogue."""

    def folder(self, model: str, /) -> ModelFolder:
        """The checked folder of a model; ToolFailed when it is unknown."""
        ...


class AskArgs(ToolArgs):
    """Arguments of ask_model."""

    prompt: str = Field(min_length=1, max_length=8000, description="The question, in the person's own words.")
    run_id: str = RUN_ID
    model: str = Field(default="", max_length=200, description="An untuned model's id instead of a run.")
    deployment_id: str = Field(default="", max_length=100, description="A deployment's id instead: it is asked over HTTP.")
    compare: bool = Field(default=False, description="Ask the untuned model as well, with the same precision and decoding.")
    max_tokens: int = Field(default=200, ge=1, le=2000, description="Longest answer, in tokens.")


class AskModel:
    """The tool."""

    name: ClassVar[str] = "ask_model"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "Ask a tuned model (run_id, by default the latest finished run), an untuned one (model) or a deployment (deployment_id). With "
        "compare=true both the tuned and its untuned model answer. The person sees the answers; you only learn that they were shown."
    )
    Args: ClassVar[type[ToolArgs]] = AskArgs

    def __init__(self, store: RunStore, models: Models, files: ServedFiles, answerer: Answerer, deployed: DeployedModels,
                 threads: int) -> None:
        self._store, self._models, self._files, self._answerer, self._threads = store, models, files, answerer, threads
        self._deployed = deployed

    def propose(self, args: AskArgs, /) -> Proposal:
        """A question to one run or model. ToolFailed when it names none that can answer here."""
        if args.deployment_id:
            _refuse_two(args)
            return self._deployed.reading(args.deployment_id)
        row = self._named(args, None)
        if row is None:
            self._models.folder(args.model or BUNDLED)
            return Proposal(effects=frozenset({Effect.READ}), target=f"model:{args.model or BUNDLED}")
        self._files.of_run(row)
        return Proposal(effects=frozenset({Effect.READ}), target=f"run:{row.id}", where=row.where, owner=row.owner)

    def _named(self, args: AskArgs, person: str | None) -> RunRow | None:
        _refuse_two(args)
        if args.run_id:
            return self._store.wanted(args.run_id, person)
        if args.compare:
            raise ToolFailed("Compare base and tuned", "There is no tuned model yet." if not args.model else "An untuned model was named.",
                             "Fine-tune one with start_finetune, or name a finished run.", kind="no_run")
        return None

    def perform(self, args: AskArgs, call: Call, /) -> Result:
        """Ask, and give the answers with their labels. Greedy decoding, so that the same question gets the same answer."""
        if args.deployment_id:
            call.report("The deployment answers", None)
            return _shown(*self._deployed.ask(args.deployment_id, call.person, args.prompt, args.max_tokens, args.compare,
                                              call.report))
        row = self._named(args, call.person)
        if row is None:
            model = self._models.folder(args.model or BUNDLED)
            base = self._files.base(model, PRECISION, lambda text: call.report(text, None), self._threads)
            answers = [self._answerer.ask(base, Label(model.id, None, PRECISION), _messages(args.prompt, None), args.max_tokens)]
            return _shown(answers)
        served = self._files.of_run(row)
        messages = _messages(args.prompt, served.system)
        answers = []
        if args.compare:
            model = self._models.folder(row.model_id)
            base = self._files.base(model, served.precision, lambda text: call.report(text, None), self._threads)
            call.report(f"{row.model_id} answers", 0.2)
            answers.append(self._answerer.ask(base, Label(row.model_id, None, served.precision), messages, args.max_tokens))
        call.report(f"{row.model_id}, tuned by run {row.id}, answers", 0.6 if args.compare else None)
        answers.append(self._answerer.ask(served.folder, Label(row.model_id, row.id, served.precision), messages, args.max_tokens))
        return _shown(answers, served.system)

    def recall(self, call_id: str, /) -> Result | Recall:
        """A question leaves nothing behind."""
        return Recall.NOT_STARTED


def _refuse_two(args: AskArgs) -> None:
    if len([name for name in (args.run_id, args.model, args.deployment_id) if name]) > 1:
        raise ToolFailed("Ask a model", "More than one was named.",
                         "Name one: run_id for the tuned, model for the untuned one, deployment_id for a deployment.", kind="usage")


def _messages(prompt: str, system: str | None) -> list[dict[str, str]]:
    asked = {"role": "user", "content": prompt}
    return [{"role": "system", "content": system}, asked] if system else [asked]


def _shown(answers: list[Answered], system: str | None = None) -> Result:
    labels: list[Mapping[str, JsonValue]] = [
        {**a.label.as_json(), "tokens": a.tokens, "tokens_per_s": a.tokens_per_s, "finish_reason": a.finish_reason} for a in answers
    ]
    return Result(
        {"answers": [{**label, "text": without_controls(a.text), "load_s": a.load_s} for label, a in zip(labels, answers, strict=True)],
         "decoding": "greedy", "system": system},
        {"shown_to_person": True, "answers": [{**label} for label in labels]},
    )
