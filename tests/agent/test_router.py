"""The router scores as scikit-learn does, and ships as its script makes it."""

import numpy as np
import pytest
from scipy.sparse import hstack

from agent.brain import fit_router
from agent.brain.faq import Faq
from agent.brain.intents import INTENTS, may_act, offer
from agent.brain.router import FILE, Router, normal
from agent.brain.slots import Slots
from tests.agent.measure import all_requests


@pytest.fixture(scope="module")
def refitted() -> tuple:  # pyright: ignore[reportMissingTypeArgument]
    """The vectorisers and the classifier, fitted anew."""
    return fit_router.fit(fit_router.read_bank())


@pytest.fixture(scope="module")
def router() -> Router:
    """The shipped one."""
    return Router.load()


def test_numpy_gives_the_probabilities_of_scikit_learn(refitted: tuple, router: Router) -> None:  # pyright: ignore[reportMissingTypeArgument]
    chars, words, model = refitted
    texts = [*all_requests(), "", "x", "ein zwei drei", "ÄÖÜ ß 1e-4", "a" * 500]
    features = hstack([chars.transform(map(normal, texts)), words.transform(map(normal, texts))]).tocsr()
    for text, row in zip(texts, model.predict_proba(features), strict=True):
        found = router.probabilities(text)
        assert [found[label] for label in model.classes_] == pytest.approx(list(row), abs=2e-4), text
        assert sum(found.values()) == pytest.approx(1)


def test_the_shipped_file_is_what_the_script_makes(refitted: tuple) -> None:  # pyright: ignore[reportMissingTypeArgument]
    made, shipped = fit_router.numbers(*refitted), np.load(FILE, allow_pickle=False)
    assert set(made) == set(shipped.files)
    for name, array in made.items():
        if array.dtype.kind == "U":
            assert str(shipped[name]) == str(array), name
        else:
            np.testing.assert_allclose(shipped[name], array, atol=5e-4, err_msg=name)


def test_the_file_is_small_and_holds_no_pickles() -> None:
    assert FILE.stat().st_size < 1_000_000
    with np.load(FILE, allow_pickle=False) as kept:
        assert all(kept[name].dtype.kind in "fU" for name in kept.files)


def test_the_same_numbers_make_the_same_bytes(refitted: tuple) -> None:  # pyright: ignore[reportMissingTypeArgument]
    assert fit_router.pack(*refitted) == fit_router.pack(*refitted)


def test_no_measured_request_is_in_the_bank() -> None:
    learned = {normal(text) for _, text in fit_router.read_bank()}
    assert not [text for text in all_requests() if normal(text) in learned]


def test_the_bank_has_enough_for_every_intent_and_no_line_twice() -> None:
    bank = fit_router.read_bank()
    counts = {intent: sum(each == intent for each, _ in bank) for intent, _ in bank}
    assert set(INTENTS) | {"help", "hello", "thanks", "none", "knowledge", "forget", "cloud"} == set(counts)
    assert all(count >= 45 for count in counts.values()), counts
    assert len({text.lower() for _, text in bank}) == len(bank)


@pytest.mark.parametrize("name", INTENTS)
def test_what_a_button_says_is_understood(router: Router, name: str) -> None:
    _, sentence = offer(name, Slots(dataset="samples/mine.jsonl"))
    first, sure = next(iter(router.probabilities(sentence).items()))
    assert first == name and sure >= 0.5
    assert may_act(INTENTS[name], sentence)


def test_names_numbers_and_quotations_are_read_by_kind() -> None:
    assert normal('Train Org/Model-1B on data/x.jsonl, 3 epochs: "hello"') == "train modelref on dataref num epochs quoted"
    assert normal("status of 7h3k9m2pqr") == "status of runref"


def test_an_answer_is_given_only_to_a_question_like_it(router: Router) -> None:
    faq = Faq.load(router)
    answer, likeness = faq.find("what's qlora?")
    assert answer is not None and answer.startswith("QLoRA is LoRA on a base model") and likeness > 0.5
    assert faq.find("who won the football match")[0] is None
    assert faq.find("")[0] is None
