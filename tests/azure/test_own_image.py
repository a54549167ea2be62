"""The recipe for an image of one's own: on the image that runs use by default, with the engine's lock, by hash."""

import re

import pytest

from tests.azure.cloud import ROOT
from tools.azure.choice import DEFAULT_IMAGE

RECIPE = (ROOT / "infra" / "engine.Dockerfile").read_text()


def test_it_begins_with_the_image_that_runs_use_by_default():
    assert re.search(r"^ARG BASE=(\S+)$", RECIPE, re.MULTILINE).group(1) == DEFAULT_IMAGE  # type: ignore[union-attr]
    assert "FROM ${BASE}" in RECIPE


def test_packages_come_from_the_lock_and_by_hash():
    lock = re.search(r"^ARG LOCK=(\S+)$", RECIPE, re.MULTILINE)
    assert lock is not None and (ROOT / "locks" / lock.group(1)).is_file()
    assert "--require-hashes" in RECIPE and "--no-deps" in RECIPE
    assert all("-r /tmp/engine.txt" in line for line in RECIPE.splitlines() if "pip install" in line)


@pytest.mark.parametrize("word", ["tools/", "COPY .", "http://", "https://", "ADD ", "curl", "wget", "USER root"])
def test_the_program_is_not_in_it_and_nothing_is_fetched_beside_the_packages(word: str):
    instructions = "\n".join(line for line in RECIPE.splitlines() if not line.startswith("#"))
    assert word not in instructions
