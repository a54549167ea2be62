"""The runs' own addresses on a real server: the list, a run's page with and without a script, and its buttons."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from shutil import copytree, rmtree

import httpx
import pytest

from tests.tools.fakes_runs import RunWorld
from tests.tools.test_runs_report import half_written, of_folders, of_links, of_other_shapes
from tests.ui.fakes_run import RUN_ID
from tests.ui.served import REAL, Served
from tests.ui.test_addresses import ask_one, signed_in
from tools.runs.state import RunState
from ui.cli import run

__all__ = ["signed_in"]
PAGE = f"/runs/{RUN_ID}"


@pytest.fixture
def begun(own_home: object, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that was approved this moment."""
    assert run(["approve", ask_one(capsys), "--yes"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize("path", ["/runs", PAGE, f"{PAGE}?part=live"])
def test_a_stranger_is_told_to_sign_in(served: Served, path: str):
    answer = httpx.get(served.url + path, headers={"accept": "text/html"})
    assert answer.status_code == 401 and "python -m ui link" in answer.text
    assert httpx.post(f"{served.url}{PAGE}", data={"what": "again"}).status_code == 401


@pytest.mark.parametrize("path", ["/runs/0123456789", "/runs/nonsense", "/runs/0123456789?part=live", "/runs/%2e%2e"])
def test_an_unknown_run_and_that_of_another_are_the_same_404(signed_in, begun: None, path: str):
    assert signed_in().get(path).status_code == 404
    stranger = signed_in("bob")
    for each in (PAGE, f"{PAGE}?part=live"):
        assert stranger.get(each).status_code == 404
    assert stranger.post(PAGE, data={"what": "stop"}).status_code == 404
    assert stranger.get("/runs").status_code == 200


def test_a_page_is_whole_without_any_script(signed_in, begun: None):
    page = signed_in().get(PAGE)
    assert page.status_code == 200 and "</html>" in page.text and "http://" not in page.text and "https://" not in page.text
    assert page.headers["content-security-policy"].count("'sha256-") == page.text.count("<script>")
    for words in ("Tokens/s", "Memory, peak", "predicted 1.4 GiB", "learning rate", "Processor flags", "d" * 64, "a" * 64, "1f" * 32,
                  "left out: it is a secret", "not complete: it is not used", f"/audit?run={RUN_ID}", "Do it again",
                  "samples/helpdesk.jsonl"):
        assert words in page.text, words
    assert "note\u00e9 &lt;b&gt;.txt" in page.text and "<b>.txt" not in page.text


def test_the_live_part_is_the_same_words_alone(signed_in, begun: None):
    part = signed_in().get(f"{PAGE}?part=live")
    assert part.status_code == 200 and "Tokens/s" in part.text and "<html" not in part.text


def test_the_list_leads_to_the_page(signed_in, begun: None):
    client = signed_in()
    page = client.get("/runs").text
    assert f'href="{PAGE}"' in page and "bundled" in page and 'aria-current="page">Runs' in page


def test_doing_it_again_asks_for_an_approval_as_this_person(signed_in, begun: None):
    client = signed_in()
    before = set(re.findall(r'data-approval="(\w+)"', client.get("/approvals").text))
    done = client.post(PAGE, data={"what": "again"})
    assert done.url.path == "/approvals" and len(set(re.findall(r'data-approval="(\w+)"', done.text)) - before) == 1


def test_stopping_leads_back_to_the_page(signed_in, begun: None):
    client = signed_in()
    done = client.post(PAGE, data={"what": "stop"})
    assert done.url.path == PAGE and "Stopped" in done.text and 'value="resume"' in done.text


@pytest.mark.parametrize("form", [{}, {"what": "delete"}, {"what": ["stop2", "x"]}], ids=str)
def test_a_press_of_nothing_does_nothing(signed_in, begun: None, form: dict[str, str]):
    done = signed_in().post(PAGE, data=form)
    assert "Nothing was done" in done.text and "Stopped" not in done.text


def test_a_form_of_another_site_does_nothing(signed_in, begun: None):
    client = signed_in()
    for headers in ({"origin": "http://elsewhere.invalid"}, {"sec-fetch-site": "cross-site"}):
        assert client.post(PAGE, data={"what": "stop"}, headers=headers).status_code == 403
    assert "Stopped" not in client.get(f"{PAGE}?part=live").text


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory):
    """The real workshop over a home in which a small engine finished a run: the client of its owner, the run and its folder."""
    home = tmp_path_factory.mktemp("real") / "home"
    home.mkdir(mode=0o700)
    world = RunWorld(home)
    run_id = world.begin("finishes")
    world.until(run_id, RunState.FINISHED)
    world.close()
    server = Served(home, REAL).start()
    with httpx.Client(follow_redirects=True, base_url=server.url, headers={"accept": "text/html"}) as client:
        assert client.get(server.link).status_code == 200
        yield client, run_id, home / "runs" / run_id
    server.stop()
    assert "Traceback" not in server.errors(), server.errors()


def test_a_real_runs_page_shows_its_files_by_their_hashes(real: tuple[httpx.Client, str, Path]):
    client, run_id, folder = real
    page = client.get(f"/runs/{run_id}").text
    for name in ("spec.json", "events.jsonl", "data/train.jsonl"):
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() in page, name
    assert "Finished" in page and "lora r" in page and "The engine has not reported yet." in page
    assert (folder / "run.key").read_text() not in page and hashlib.sha256((folder / "run.key").read_bytes()).hexdigest() not in page
    assert f'href="/runs/{run_id}"' in client.get("/runs").text


@pytest.mark.parametrize("spoil", [half_written, of_other_shapes, of_folders, of_links, rmtree], ids=lambda each: each.__name__)
def test_a_folder_that_somebody_spoiled_still_has_a_page(real: tuple[httpx.Client, str, Path], spoil: Callable[[Path], None]):
    client, run_id, folder = real
    kept = folder.with_name("kept")
    copytree(folder, kept, symlinks=True)
    try:
        spoil(folder)
        for path in (f"/runs/{run_id}", f"/runs/{run_id}?part=live", "/runs", f"/runs/{run_id}/log"):
            assert client.get(path).status_code == 200, path
    finally:
        rmtree(folder, ignore_errors=True)
        kept.rename(folder)
