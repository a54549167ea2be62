"""`python -m bench.policy`: what one decision of the policy costs, in thread CPU time, over proposals like the tools' own."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from bench.figure import Figure, show
from policies.cases import load_cases
from policies.judge import Facts, judge
from policies.limits import MICROS
from policies.people import Caller
from policies.policy import SHIPPED, Policy
from policies.proposal import Cost, Effect, Proposal, Trait

ROUNDS = 40
WARM = 50


def proposals() -> Iterator[tuple[str, Proposal, Facts]]:
    """Looking, training here, training for money, an endpoint, a teardown: names, proposals and what the book knows."""
    facts = Facts("member", False, 80 * MICROS, hour=9)
    place: dict[str, Any] = {"region": "eastus", "sku": "Consumption-GPU-NC8as-T4", "max_minutes": 180}
    run = Cost(2 * MICROS, 9 * MICROS, basis="price list")
    yield "look", Proposal(frozenset({Effect.READ}), "run:4k2j8m9qxz", owner="ann"), facts
    yield "train here", Proposal(frozenset({Effect.LOCAL}), "run:new", traits=frozenset({Trait.OCCUPIES})), facts
    yield "stop", Proposal(frozenset({Effect.LOCAL}), "run:4k2j8m9qxz", owner="ann", traits=frozenset({Trait.STOPS})), facts
    yield "train for money", Proposal(frozenset({Effect.SPEND}), "run:new", cost=run, **place), facts
    yield "approved", Proposal(frozenset({Effect.SPEND}), "run:new", cost=run, **place), replace(facts, yes=frozenset({"bob"}))
    yield "serve", Proposal(frozenset({Effect.SPEND, Effect.EXPOSE}), "endpoint:new", cost=run, **place), facts
    yield "tear down", Proposal(frozenset({Effect.DESTROY}), "group:luthier"), facts
    yield "another's", Proposal(frozenset({Effect.READ}), "run:4k2j8m9qxz", owner="bob"), facts


def times(work: Callable[[], object], rounds: int) -> list[float]:
    """Milliseconds of thread CPU time of each round."""
    spent = []
    for _ in range(rounds):
        began = time.thread_time()
        work()
        spent.append((time.thread_time() - began) * 1000)
    return spent


def main() -> int:
    """Print the figures; 0 when each keeps its limit."""
    policy, caller = Policy.load(), Caller("ann", "web")
    spent = list[float]()
    for _, proposal, facts in proposals():
        times(lambda proposal=proposal, facts=facts: judge(proposal, "tool", caller, facts, policy), WARM)
    # Interleaved, so that a slow moment of the machine does not fall on one kind alone.
    for _ in range(ROUNDS):
        for _, proposal, facts in proposals():
            spent += times(lambda proposal=proposal, facts=facts: judge(proposal, "tool", caller, facts, policy), 5)
    files = [load_cases(path) for path in sorted((SHIPPED / "cases").glob("*.toml"))]
    cases = [(case, found.limits) for found in files for case in found.case]
    whole = times(lambda: [case.judged(policy, limits) for case, limits in cases], 3)
    spent.sort()
    kinds = ", ".join(name for name, _, _ in proposals())
    note = f"{len(spent)} decisions in thread CPU time: {kinds}"
    figures = [
        Figure("a decision of the policy, p50", spent[len(spent) // 2], "ms", 1.0, note=note),
        Figure("a decision of the policy, p99", spent[int(len(spent) * 0.99)], "ms", 5.0, note="rules parsed once; *ask* is two questions"),
        Figure("the cases of `policy test`", min(whole), "ms", note=f"{len(cases)} cases, limits changed for each"),
    ]
    show(figures)
    return 0 if all(figure.good for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
