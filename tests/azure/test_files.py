"""Uploads, downloads and tails through the unmodified client library, against a share that is a folder."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from policies.tool import ToolFailed
from tests.azure.cloud import ROOT, Cloud
from tests.azure.faults import Fault
from tests.azure.files_server import files_of
from tests.azure.files_store import Listed, Store
from tests.azure.world import new_key
from tools.azure import files
from tools.azure.client import Azure
from tools.azure.files import Share, Shrunk, open_share
from tools.azure.place import CloudPlace
from tools.azure.share_names import safe_name
from tools.azure.trouble import AzureTrouble


@pytest.fixture
def place(cloud: Cloud) -> CloudPlace:
    """A prepared place."""
    return cloud.prepared()


@pytest.fixture
def share(place: CloudPlace, azure: Azure) -> Share:
    """Its share."""
    return open_share(azure, place)


@pytest.fixture
def store(cloud: Cloud) -> Store:
    """What the stand-in keeps."""
    return files_of(cloud.world)


def put(cloud: Cloud) -> int:
    """How many ranges were sent."""
    return sum(1 for each in cloud.world.sent if each.host == "files" and each.method == "PUT" and "comp=range" in each.query)


def got(cloud: Cloud) -> int:
    """How often a file was read."""
    return sum(1 for each in cloud.world.sent if each.host == "files" and each.method == "GET" and "comp=" not in each.query)


def some(path: Path, size: int = 9_000_001) -> Path:
    """A file of random bytes."""
    path.write_bytes(os.urandom(size))
    return path


@pytest.mark.parametrize("size", [0, 1, 4 << 20, 9_000_001])
def test_what_goes_up_comes_down_the_same(share: Share, cloud: Cloud, tmp_path: Path, size: int):
    source = some(tmp_path / "up", size)
    share.make_folders("runs/abc")
    share.put(source, "runs/abc/model.safetensors")
    assert (cloud.share_root / "runs/abc/model.safetensors").read_bytes() == source.read_bytes()
    share.get("runs/abc/model.safetensors", tmp_path / "down", size=size, sha256=hashlib.sha256(source.read_bytes()).hexdigest())
    assert (tmp_path / "down").read_bytes() == source.read_bytes()
    assert sorted(each.name for each in tmp_path.iterdir() if each.name.startswith(("up", "down"))) == ["down", "up"]
    assert [each.name for each in share.entries("runs/abc")] == ["model.safetensors"]


def test_what_is_there_already_is_not_sent_again(share: Share, cloud: Cloud, tmp_path: Path):
    source = some(tmp_path / "up")
    share.put(source, "model")
    sent = put(cloud)
    told: list[int] = []
    share.put(source, "model", progress=told.append)
    assert put(cloud) == sent and sum(told) == 9_000_001


def test_a_large_file_is_named_by_its_content_while_it_is_sent(
        share: Share, cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tools.azure.files.FIRST", 0)
    source = some(tmp_path / "up")
    share.put(source, "model")
    kept = files_of(cloud.world).metadata["model"]
    assert kept["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest() and kept["size"] == "9000001"
    assert (cloud.share_root / "model").read_bytes() == source.read_bytes()
    sent = put(cloud)
    share.put(source, "model")
    assert put(cloud) == sent


def test_a_part_whose_content_was_never_named_begins_anew(share: Share, cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tools.azure.files.FIRST", 0)
    source = some(tmp_path / "up")
    cloud.faults.at("PUT", r"files:.*comp=metadata", Fault.DENIED)
    with pytest.raises(AzureTrouble):
        share.put(source, "model")
    assert share.stat("model") is None and put(cloud) == 3
    share.put(source, "model")
    assert put(cloud) == 6 and (cloud.share_root / "model").read_bytes() == source.read_bytes()


def breaks(cloud: Cloud, after: int) -> None:
    """The share is full when so many ranges have come."""
    cloud.faults.at("PUT", r"files:.*comp=range", Fault.ANSWER, times=1, skip=after, status=403, code="ShareSizeLimitReached")


def test_an_upload_that_broke_off_sends_only_what_is_missing(share: Share, cloud: Cloud, tmp_path: Path):
    source = some(tmp_path / "up", 20 << 20)
    breaks(cloud, 2)
    with pytest.raises(AzureTrouble, match="share is full"):
        share.put(source, "model", workers=1)
    assert share.stat("model") is None, "nobody sees a part under its name"
    share.put(source, "model")
    assert put(cloud) == 6, "five ranges, and the one that was refused"


def test_a_source_that_changed_since_begins_anew(share: Share, cloud: Cloud, tmp_path: Path):
    source = some(tmp_path / "up", 12 << 20)
    breaks(cloud, 1)
    with pytest.raises(AzureTrouble):
        share.put(source, "model", workers=1)
    some(source, 12 << 20)
    share.put(source, "model")
    assert (cloud.share_root / "model").read_bytes() == source.read_bytes()


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tools.azure.files import Share
from azure.storage.fileshare import ShareServiceClient
key = {"account_name": sys.argv[3], "account_key": sys.argv[4]}
service = ShareServiceClient(sys.argv[2], credential=key, connection_verify=sys.argv[5])
share, done = Share(service.get_share_client("luthier")), 0
def die(count):
    global done
    done += count
    if done >= 9 << 20:
        os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[6] == "up":
    share.put(Path(sys.argv[7]), "model", progress=die, workers=1)
else:
    share.get("model", Path(sys.argv[7]), progress=die, workers=1)
"""


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_kill_in_the_middle_costs_what_was_under_way_alone(share: Share, place: CloudPlace, cloud: Cloud, tmp_path: Path, way: str):
    source, target = some(tmp_path / "up", 40 << 20), tmp_path / "down"
    if way == "down":
        share.put(source, "model")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(ROOT), place.files, place.account, cloud.world.account_keys(place.account)[0], str(cloud.ca),
         way, str(source if way == "up" else target)], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    if way == "up":
        before = put(cloud)
        share.put(source, "model")
        assert before >= 2 and put(cloud) == 10, "each of ten ranges went once"
        assert (cloud.share_root / "model").read_bytes() == source.read_bytes()
    else:
        share.get("model", target)
        assert target.read_bytes() == source.read_bytes()


def test_a_download_goes_on_from_what_is_whole(share: Share, cloud: Cloud, tmp_path: Path):
    source, target = some(tmp_path / "up", 40 << 20), tmp_path / "down"
    share.put(source, "model")
    cloud.faults.at("GET", r"files:/luthier/model$", Fault.DENIED, times=1, skip=3)
    with pytest.raises(AzureTrouble):
        share.get("model", target, workers=1)
    assert not target.exists()
    first = got(cloud)
    share.get("model", target, workers=1)
    assert target.read_bytes() == source.read_bytes()
    assert got(cloud) - first < 5


def test_a_file_that_changes_under_the_download_is_read_again(share: Share, cloud: Cloud, tmp_path: Path):
    source, target = some(tmp_path / "up", 20 << 20), tmp_path / "down"
    share.put(source, "model")
    changed = os.urandom(20 << 20)

    def change(count: int) -> None:
        if count and got(cloud) == 1:
            (cloud.share_root / "model").write_bytes(changed)

    share.get("model", target, progress=change, workers=1)
    assert target.read_bytes() == changed


def test_what_is_not_what_the_manifest_says_is_not_kept(share: Share, tmp_path: Path):
    share.put(some(tmp_path / "up", 100), "model")
    for wanted in ({"size": 99}, {"sha256": "0" * 64}):
        with pytest.raises(AzureTrouble, match="do not use it"):
            share.get("model", tmp_path / "down", **wanted)  # type: ignore[arg-type]
    assert not list(tmp_path.glob("down*"))


def test_a_tail_reads_on_and_hears_that_a_file_was_begun_anew(share: Share, cloud: Cloud):
    log = cloud.share_root / "log.txt"
    log.write_bytes(b"one\n")
    assert share.read("log.txt", 0) == b"one\n" and share.read("log.txt", 4) == b""
    with log.open("ab") as file:
        file.write(b"two\n")
    assert share.read("log.txt", 4, most=2) == b"tw"
    log.write_bytes(b"1\n")
    with pytest.raises(Shrunk):
        share.read("log.txt", 8)
    with pytest.raises(AzureTrouble):
        share.read("none.txt", 0)


def test_a_busy_service_is_asked_again(share: Share, cloud: Cloud, tmp_path: Path):
    cloud.faults.at("PUT", r"files:.*comp=range", Fault.REFUSED_503, times=2)
    share.put(some(tmp_path / "up", 100), "model")
    assert share.stat("model") is not None


@pytest.mark.parametrize("name", ["..", ".", "a/b", "a\\b", "x:y", "end.", "end ", "", "a\nb", "star*", "x" * 300])
def test_no_foreign_name_becomes_a_path(name: str):
    assert not safe_name(name)


@pytest.mark.parametrize("names", [[".."], ["up\\date"], ["Model", "model"]], ids=["up", "separator", "twins"])
def test_a_list_with_hostile_names_is_refused(share: Share, cloud: Cloud, store: Store, names: list[str]):
    (cloud.share_root / "runs").mkdir()
    store.planted["runs"] = [Listed(name, False, 1) for name in names]
    with pytest.raises(ToolFailed):
        share.entries("runs")


def test_a_tree_is_deleted_and_what_is_gone_is_no_error(share: Share, cloud: Cloud):
    share.make_folders("runs/abc/checkpoints")
    share.put_bytes("runs/abc/checkpoints/x", b"1")
    share.put_bytes("runs/abc/x", b"1")
    share.delete_tree("runs/abc")
    share.delete_tree("runs/abc")
    share.delete("runs/abc/x")
    assert not (cloud.share_root / "runs/abc").exists()
    share.make_folders("runs/abc")
    assert [path for path, _ in share.walk("runs")] == []


def test_the_key_is_in_no_error_and_no_text(share: Share, cloud: Cloud, place: CloudPlace):
    key = cloud.world.account_keys(place.account)[0]
    assert key not in repr(vars(share))
    with pytest.raises(AzureTrouble) as caught:
        share.read("none", 0)
    assert key not in str(caught.value)


def rotate(cloud: Cloud, place: CloudPlace) -> None:
    """The account's keys are made anew."""
    rid = next(rid for rid in cloud.world.hidden if rid.endswith(f"/storageaccounts/{place.account}"))
    cloud.world.hidden[rid] = [new_key(), new_key()]


def test_a_key_that_was_changed_is_read_anew_in_the_middle_of_the_work(share: Share, cloud: Cloud, place: CloudPlace, tmp_path: Path):
    share.put(some(tmp_path / "first", 10), "one")
    rotate(cloud, place)
    share.put(some(tmp_path / "second", 10), "two")
    assert share.read("two", 0) == (tmp_path / "second").read_bytes()


def test_a_key_that_is_refused_although_it_is_the_present_one_is_told_with_the_clock(share: Share, cloud: Cloud):
    cloud.faults.at("HEAD", "files:", Fault.ANSWER, times=9, status=403, code="AuthenticationFailed")
    with pytest.raises(AzureTrouble, match=r"does not accept the storage account's key\..*clock") as refused:
        share.stat("any")
    assert refused.value.trouble == "unknown"


def test_a_share_that_a_policy_has_closed_to_keys_is_told_with_the_remedy(share: Share, cloud: Cloud):
    cloud.faults.at("PUT", "files:", Fault.ANSWER, times=9, status=403, code="KeyBasedAuthenticationNotPermitted")
    with pytest.raises(AzureTrouble, match=r"allows no shared keys.*another resource group") as refused:
        share.put_bytes("any", b"1")
    assert refused.value.trouble == "policy"


@pytest.mark.parametrize("inside", [
    pytest.param("/".join("d" * 22) + "/file", id="so deep"), pytest.param("many", id="so many"),
])
def test_a_tree_that_no_run_would_leave_is_not_walked(share: Share, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, inside: str):
    monkeypatch.setattr(files, "MOST_ENTRIES", 30)
    for number in range(1 if "/" in inside else 40):
        path = cloud.share_root / "runs" / (inside if "/" in inside else f"{inside}/{number % 4}/{number}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with pytest.raises(ToolFailed, match="more than 30 files, or more than 20 folders") as refused:
        list(share.walk("runs"))
    assert refused.value.kind == "foreign_name"
