"""Asks a deployment as its clients do: over HTTP, with its key, greedily."""

import json
import time
from collections.abc import Callable, Mapping, Sequence

import httpx

from policies.proposal import Effect, Proposal
from policies.tool import ToolFailed
from tools.serve.answerer import ANSWER_S, Answered, Label
from tools.serve.deploy import Deploying
from tools.serve.deploy_azure import is_cloud
from tools.serve.deploy_refusals import refused, unheard
from tools.serve.deploy_state import DeployState
from tools.serve.deploy_store import DeploymentRow


class DeployedModels:
    """The deployments of a home, as `ask_model` needs them."""

    def __init__(self, deploying: Deploying) -> None:
        self._deploying = deploying

    def reading(self, ident: str) -> Proposal:
        """The proposal of a question. ToolFailed when it is not running.

        One on Azure may wake a replica that is paid for: that is more than a look (LOCAL, for whoever may act on the deployment), and it
        is inside the ceiling that the deployment's approval reserved, or refused: past it there is no yes that a question could ask for.
        """
        row = self._running(ident, None)
        effect = Effect.READ
        if is_cloud(row):
            self._deploying.azure.must_be_covered(row)
            effect = Effect.LOCAL
        return Proposal(effects=frozenset({effect}), target=f"deployment:{row.id}", where=row.where, owner=row.owner)

    def _running(self, ident: str, person: str | None) -> DeploymentRow:
        row = self._deploying.store.wanted(ident, person)
        if row.alive and person is not None:
            row = self._deploying.settle(row)
        if row.state is not DeployState.RUNNING:
            raise ToolFailed(f"Ask the deployment {ident}", f"It is {row.state.value}.", "Start it with redeploy.", kind="not_running",
                             heard="" if person is None else row.reason)
        return row

    def ask(self, ident: str, person: str, prompt: str, max_tokens: int, compare: bool,
            say: Callable[[str, float | None], None] = lambda text, fraction: None) -> tuple[list[Answered], str | None]:
        """The answers, the untuned model's first where both are compared, and the system message they were asked with. ToolFailed."""
        row = self._running(ident, person)
        names = [str(name) for name in row.plan["names"]]
        if compare and len(names) < 2:
            raise ToolFailed("Compare base and tuned", f"The deployment {ident} serves {names[0]} alone.",
                             "Ask without compare, or redeploy it with with_base=true.", kind="no_base")
        system = self._deploying.system_of(row)
        asked = {"role": "user", "content": prompt}
        messages = [{"role": "system", "content": system}, asked] if system else [asked]
        key, precision = self._deploying.local.key(row.id), str(row.plan.get("precision"))
        labels = {name: Label(row.model_id, row.run_id if at == 0 else None, precision) for at, name in enumerate(names)}
        wanted = reversed(names) if compare else names[:1]
        if not is_cloud(row):
            with httpx.Client(trust_env=False, follow_redirects=False, timeout=ANSWER_S) as client:
                return [ask_over_http(client, row.url, key, name, labels[name], messages, max_tokens) for name in wanted], system
        self._deploying.azure.must_be_covered(row)
        with self._deploying.azure.client() as client:
            url = self._deploying.azure.awake(client, row, say)
            say("It answers", None)
            return [ask_over_http(client, url, key, name, labels[name], messages, max_tokens) for name in wanted], system


def ask_over_http(client: httpx.Client, url: str, key: str, name: str, label: Label, messages: Sequence[Mapping[str, str]],
                  max_tokens: int) -> Answered:
    """One greedy answer of an OpenAI-compatible address, streamed. ToolFailed with what it said, also when another model answered."""
    body = {"model": name, "messages": list(messages), "max_tokens": max_tokens, "temperature": 0, "stream": True,
            "stream_options": {"include_usage": True}}
    said: list[str] = []
    times: list[float] = []
    finish, tokens, whole = "", 0, False
    try:
        with client.stream("POST", f"{url}/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"}) as answer:
            if answer.status_code != 200:
                answer.read()
                raise refused(answer.status_code, answer.text)
            for line in answer.iter_lines():
                whole = whole or line == "data: [DONE]"
                if not line.startswith("data: ") or line == "data: [DONE]":
                    continue
                piece = json.loads(line[6:])
                if "error" in piece:
                    raise refused(200, line[6:])
                if piece["model"] != name:
                    raise ToolFailed("Ask the deployment", "Another model answered than was asked.", "Stop it and deploy it again.",
                                     kind="engine")
                tokens = (piece.get("usage") or {}).get("completion_tokens", tokens)
                for choice in piece["choices"]:
                    finish = choice["finish_reason"] or finish
                    if text := choice["delta"].get("content"):
                        said.append(text)
                        times.append(time.monotonic())
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise unheard(error) from error
    if not whole:
        raise unheard(EOFError())
    span = times[-1] - times[0] if len(times) > 1 else 0.0
    return Answered(label, "".join(said), tokens, round((len(times) - 1) / span, 2) if span > 0 else None, finish, None)
