"""When training learns no more."""

import math

import pytest

from tools.engine.watchdog import Diverged, Standing, Watchdog, standing

CALM = [2.0] * 20


def seen(losses: list[float], explode: float = 4.0) -> Diverged | None:
    """What a watchdog says at the first loss that it minds."""
    dog = Watchdog(explode)
    return next((wrong for step, loss in enumerate(losses, 1) if (wrong := dog.see(step, loss)) is not None), None)


@pytest.mark.parametrize(
    ("losses", "first", "step"),
    [
        pytest.param([math.nan], 1, 1, id="no number at the first step"),
        pytest.param([*CALM, math.inf], 21, 21, id="infinite"),
        pytest.param([*CALM, 9.0, 9.0, 9.0], 21, 23, id="exploding three times in a row"),
        pytest.param([*CALM, 9.0, math.nan], 21, 22, id="exploding, then no number: in doubt since it exploded"),
        pytest.param([*CALM, 9.0, 9.0, 2.0, 9.0, 9.0, 9.0], 24, 26, id="calm between"),
    ],
)
def test_a_loss_out_of_bounds_ends_the_run(losses: list[float], first: int, step: int) -> None:
    wrong = seen(losses)
    assert wrong is not None and (wrong.first, wrong.step, wrong.doubtful) == (first, step, first - 1)
    assert f"step {wrong.step}" in wrong.says()


@pytest.mark.parametrize(
    "losses",
    [
        pytest.param([1.0, 50.0, 50.0, 50.0, 50.0], id="before twenty steps anything may happen"),
        pytest.param([*CALM, 9.0, 9.0, *CALM, 9.0, 9.0], id="two in a row"),
        pytest.param([*CALM, 8.0, 8.0, 8.0, 8.0], id="just within bounds"),
        pytest.param([2.0 * 1.05**n for n in range(60)], id="rising slowly"),
    ],
)
def test_what_may_happen_in_training_does_not(losses: list[float]) -> None:
    assert seen(losses) is None


def test_losses_of_earlier_attempts_count() -> None:
    dog = Watchdog(4.0, [*enumerate(CALM, 1), (21, 9.0)])
    assert [dog.see(step, 9.0) is None for step in (22, 23)] == [True, False] and dog.first == 21


@pytest.mark.parametrize(
    ("losses", "best", "waited"),
    [
        pytest.param([], None, 0, id="none yet"),
        pytest.param([3.0, 2.0], 8, 0, id="improving"),
        pytest.param([3.0, 2.0, 2.0, 2.5], 8, 2, id="the same is no improvement"),
        pytest.param([3.0, math.nan, 2.9], 12, 0, id="no number between"),
        pytest.param([math.nan, math.nan], None, 2, id="never a number"),
    ],
)
def test_the_standing_names_the_best_evaluation_and_how_long_ago_it_was(losses: list[float], best: int | None, waited: int) -> None:
    found = standing([(4 * at, loss) for at, loss in enumerate(losses, 1)])
    assert (found.best_step, found.waited) == (best, waited)


@pytest.mark.parametrize(("patience", "over"), [(None, False), (2, True), (3, False)])
def test_patience_ends_after_so_many_evaluations(patience: int | None, over: bool) -> None:
    assert Standing(4, 2.0, 2).is_over(patience) is over
    assert not Standing(None, None, 9).is_over(patience)
