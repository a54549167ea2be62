"""Places: what is derived, and what a field overrides."""

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from tools.places import Places

ROOT, HOME = Path("/project"), Path("/someone/.luthier")


def test_everything_left_out_is_derived_from_root_home_and_accelerator() -> None:
    places = Places(ROOT, HOME)
    assert places.data == (ROOT / "samples", HOME / "data")
    assert places.engine_python == ROOT / ".engine-cpu/bin/python"
    assert (places.bundled_model, places.bundled_served) == (ROOT / ".bundled/model", ROOT / ".bundled/onnx-int8")
    assert (places.runs, places.models, places.uploads, places.keys) == (HOME / "runs", HOME / "models", HOME / "data", HOME / "keys")


def test_the_cuda_environment_has_an_interpreter_of_its_own() -> None:
    assert Places(ROOT, HOME, accelerator="cuda").engine_python == ROOT / ".engine-cuda/bin/python"


def test_given_fields_win() -> None:
    places = Places(ROOT, HOME, data=(Path("/data"),), engine_python=Path("/py"), bundled=Path("/b"))
    assert places.data == (Path("/data"),)
    assert places.engine_python == Path("/py")
    assert places.bundled_model == Path("/b/model")


def test_places_cannot_be_changed() -> None:
    places = Places(ROOT, HOME)
    with pytest.raises(FrozenInstanceError):
        places.home = ROOT  # type: ignore[misc]
