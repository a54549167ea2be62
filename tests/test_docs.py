"""Every tool, setting, limit and rule has its heading in the documents, and what the documents name exists."""

import re
import tempfile
import tomllib
from pathlib import Path

import pytest

from agent.settings import Settings
from docs import reference
from policies.book import Book
from policies.policy import Policy
from tools.places import Places
from tools.toolbox import build_toolbox

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


def headings(name: str) -> set[str]:
    """The names in backticks that stand in a page's headings."""
    text = (DOCS / name).read_text(encoding="utf-8")
    return {found for line in re.findall(r"^#+ .*$", text, re.MULTILINE) for found in re.findall(r"`([^`]+)`", line)}


def test_every_tool_has_its_heading() -> None:
    with tempfile.TemporaryDirectory() as folder:
        book = Book.open(Path(folder, "book.sqlite"))
        toolbox = build_toolbox(Places(root=ROOT, home=Path(folder)), book, Policy.load)
        names = set(toolbox.tools)
        toolbox.close()
        book.close()
    assert names and headings("tools.md") == names


def test_every_setting_has_its_heading_and_no_other_has_one() -> None:
    names = {f"LUTHIER_{field.upper()}" for field in Settings.model_fields if field not in {"root", "provider"}}
    assert headings("settings.md") == names


def test_every_setting_stands_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "docs/settings.md" in text


def test_every_limit_has_its_heading() -> None:
    limits = tomllib.loads((ROOT / "policies" / "limits.toml").read_text(encoding="utf-8"))
    names = {f"{section}.{key}" for section, keys in limits.items() for key in keys}
    assert headings("limits.md") == names


def test_every_rule_file_has_its_heading() -> None:
    assert headings("rules.md") == {path.name for path in (ROOT / "policies" / "rules").glob("*.cedar")}


@pytest.mark.parametrize("page", sorted(reference.PAGES))
def test_a_page_that_follows_from_the_code_is_current(page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == reference.PAGES[page](), "run `python -m docs.reference`"


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "THREAT_MODEL.md", "CHANGELOG.md", "docs/settings.md", "docs/bench.md"])
def test_every_link_inside_the_project_leads_somewhere(page: str) -> None:
    path = ROOT / page
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8"))
    inside = [link for link in links if "://" not in link]
    assert not [link for link in inside if not (path.parent / link).exists() and link != "docs/screenshot.png"]


def test_every_make_target_in_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+)`", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert named and named <= targets


def test_the_pages_of_one_page_are_one_page() -> None:
    for name in ("ARCHITECTURE.md", "THREAT_MODEL.md"):
        assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= 110, name
