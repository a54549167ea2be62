"""What a job writes, by the stream and by the late copy: nothing twice, nothing lost, no token to a stranger."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.azure.arm_prepared import prepare
from tests.azure.cloud import WORKSPACE, Cloud
from tests.azure.executions import ScriptedExecution
from tests.azure.logs_server import Logs, fresh_token, logs_of
from tests.azure.told import trouble_of
from tests.azure.world import Execution
from tools.azure.client import Azure
from tools.azure.credential import Hidden
from tools.azure.jobs import RUN_KEY, Jobs, JobSpec
from tools.azure.late_logs import LateLogs
from tools.azure.log_line import LONGEST, of_stream, own_name, split
from tools.azure.logs import LogStream, early_lines
from tools.azure.place import CloudPlace, Shape

RUN = "0123456789"
SPEC = JobSpec(RUN, 1, Shape("Consumption-GPU-NC8as-T4", 8, 56, 1, "T4", 16), 3600, "e" * 64, "2026-11-30T00:00:00.000000Z")
JOB = f"luthier-run-{RUN}"


@dataclass
class Running:
    """An execution that runs until its test ends it, and what may be read of it."""

    logs: Logs
    execution: Execution
    stream: LogStream
    place: CloudPlace

    @property
    def name(self) -> str:
        """Its name."""
        return self.execution.name

    def end(self) -> None:
        """It is over."""
        self.execution.end("Succeeded", 0)


@pytest.fixture
def running(cloud: Cloud, azure: Azure) -> Running:
    """An execution with an empty log."""
    place = prepare(cloud.world, cloud.choice(), WORKSPACE)
    for name in ("runs/" + RUN, "engine/" + "e" * 64, "models"):
        (cloud.share_root / name).mkdir(parents=True)
    cloud.script(ScriptedExecution(lambda run: None))
    jobs = Jobs(azure, place)
    jobs.put(SPEC, {RUN_KEY: Hidden("0" * 64)})
    jobs.start(JOB)
    return Running(logs_of(cloud.world), cloud.executions[0], LogStream(azure, place), place)


def collected(running: Running, when: Callable[[list[str]], bool]) -> list[str]:
    """The lines that are followed; when they are as wanted the execution ends, and with it the stream."""
    found: list[str] = []
    for line in running.stream.lines(JOB, running.name):
        found.append(line.text)
        if when(found):
            running.end()
    return found


def test_lines_come_as_they_are_written_without_the_noise_of_the_connection(running: Running) -> None:
    running.logs.say(running.name, "first")

    def more(found: list[str]) -> bool:
        if found == ["first"]:
            running.logs.say(running.name, "second")
        return len(found) == 2

    assert collected(running, more) == ["first", "second"]


def test_a_cut_stream_is_joined_again_and_no_line_is_shown_twice(running: Running) -> None:
    for number in range(6):
        running.logs.say(running.name, f"line {number}")
    running.logs.cut_after = [2, 4]
    assert collected(running, lambda found: len(found) == 6) == [f"line {number}" for number in range(6)]
    assert len(running.logs.connections) >= 3
    assert all("output=json" in each and "tailLines=300" in each for each in running.logs.connections)


def test_the_same_text_at_another_time_is_another_line(running: Running) -> None:
    running.logs.say(running.name, "step", "2026-11-24T10:00:00Z")
    running.logs.say(running.name, "step", "2026-11-24T10:00:01Z")
    assert collected(running, lambda found: len(found) == 2) == ["step", "step"]


def test_a_token_that_ran_out_is_asked_for_anew(running: Running, cloud: Cloud) -> None:
    running.logs.say(running.name, "one")
    running.logs.cut_after = [1]

    def expire(found: list[str]) -> bool:
        if len(found) == 1:
            running.logs.expired = 1
            running.logs.say(running.name, "two")
        return len(found) == 2

    assert collected(running, expire) == ["one", "two"]
    asked = [path for method, path in cloud.requests if method == "POST" and path.endswith("/getAuthToken")]
    assert len(asked) == len(running.logs.connections) >= 3, "one token for each connection"


def test_the_log_host_gets_the_jobs_token_and_never_the_managers(running: Running) -> None:
    running.logs.say(running.name, "one")
    running.stream.tail(JOB, running.name)
    from tools.azure.credential import claims

    assert [claims(each)["aud"] for each in running.logs.tokens] == ["log-host-of-the-stand-in"]


def test_an_address_that_is_none_of_azures_gets_no_token(running: Running, azure: Azure, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = "https://logs.example.com/stream"
    container = {"runningState": "Running", "logStreamEndpoint": endpoint}
    monkeypatch.setattr("tools.azure.logs.replicas", lambda *_: [{"properties": {"containers": [container]}}])
    assert trouble_of(lambda: list(running.stream.lines(JOB, running.name))).trouble == "refused_host"
    assert trouble_of(lambda: running.stream.tail(JOB, running.name)).trouble == "refused_host"
    assert running.logs.tokens == []


def test_a_redirect_is_not_followed(running: Running, cloud: Cloud) -> None:
    running.logs.redirect = cloud.endpoint + "/elsewhere"
    assert trouble_of(lambda: list(running.stream.lines(JOB, running.name))).trouble == "refused_host"
    assert len(running.logs.connections) == 1 and not [path for _, path in cloud.requests if "elsewhere" in path]


def test_a_host_that_is_busy_for_a_while_is_asked_again_and_given_up_after_five_times(running: Running) -> None:
    running.logs.say(running.name, "one")
    running.logs.busy = 3
    assert collected(running, lambda found: True) == ["one"]


def test_a_host_that_stays_busy_is_given_up(running: Running) -> None:
    running.logs.busy = 1000
    assert trouble_of(lambda: list(running.stream.lines(JOB, running.name))).trouble == "transient"
    assert len(running.logs.connections) == 5


def test_the_stream_ends_with_its_container(running: Running) -> None:
    running.end()
    assert list(running.stream.lines(JOB, running.name)) == [] and running.stream.tail(JOB, running.name) == ()


def test_a_reader_that_stops_is_let_go(running: Running) -> None:
    stop = threading.Event()
    for number in range(3):
        running.logs.say(running.name, f"line {number}")
    found = []
    for line in running.stream.lines(JOB, running.name, stop):
        found.append(line.text)
        stop.set()
    assert found == ["line 0"]


def test_only_the_last_300_lines_are_still_there(running: Running) -> None:
    for number in range(350):
        running.logs.say(running.name, f"line {number}")
    found = running.stream.tail(JOB, running.name)
    assert len(found) == 300 and found[0].text == "line 50" and found[0].source == "stream"


@pytest.mark.parametrize(("raw", "texts"), [
    (b'{"TimeStamp":"2026-11-24T10:00:00Z","Log":"\\u001b[31mred\\u001b[0m \\u202eback"}', ["red back"]),
    (b'{"TimeStamp":"now","Log":"10%\\r20%"}', ["20%"]),
    (b'{"TimeStamp":"2026-11-24T10:00:00Z","Log":"a\\nb\\n"}', ["a", "b"]),
    (b'{"TimeStamp":1,"Log":"token hf_aaaaaaaaaaaaaaaaaaaaaaaaaaaa"}', ["token <secret: huggingface_token>"]),
    (b'{"TimeStamp":"2026-11-24T10:00:00Z","Log":"Connecting to the container \'main\'..."}', []),
    (b'{"Log":7}', []), (b"[1]", []), (b"not json", []), (b"", []), (b"[" * 5000, []), (b'{"TimeStamp":"x"}', []),
], ids=["escapes", "bar", "several", "secret", "noise", "number", "list", "text", "nothing", "deep", "no log"])
def test_what_a_container_writes_is_read_as_text_of_a_stranger(raw: bytes, texts: list[str]) -> None:
    assert [each.text for each in of_stream(raw)] == texts


def test_a_time_that_is_none_is_left_out() -> None:
    assert of_stream(b'{"TimeStamp":"<b>","Log":"x"}')[0].at == ""


def test_an_endless_line_takes_no_memory_and_hides_no_line_after_it() -> None:
    blocks = [b"a\nb", b"c\n", *[b"x" * LONGEST] * 5, b"x\nd\n", b"e"]
    assert list(split(blocks)) == [b"a", b"bc", b"d", b"e"]


def rows(running: Running, table: str, *texts: str) -> None:
    running.logs.tables.setdefault(table, {})[running.name] = [(f"2026-11-24T10:00:0{number}Z", text) for number, text in enumerate(texts)]


@pytest.mark.parametrize("table", ["ContainerAppConsoleLogs_CL", "ContainerAppConsoleLogs"], ids=["by key", "azure-monitor"])
def test_the_late_copy_gives_the_newest_lines_in_their_order(running: Running, azure: Azure, table: str) -> None:
    rows(running, table, "one", "two", "three")
    found = LateLogs(azure, running.place).lines(JOB, running.name, most=2)
    assert [each.text for each in found] == ["two", "three"] and {each.source for each in found} == {"analytics"}


def test_a_table_that_does_not_exist_yet_has_no_lines(running: Running, azure: Azure) -> None:
    assert LateLogs(azure, running.place).lines(JOB, running.name) == ()


def test_what_the_platform_says_comes_with_its_reason(running: Running, azure: Azure) -> None:
    rows(running, "ContainerAppSystemLogs_CL", "PullingImage: Pulling image")
    assert [each.text for each in LateLogs(azure, running.place).system(JOB, running.name)] == ["PullingImage: Pulling image"]
    assert "strcat(Reason_s" in running.logs.queries[-1]


@pytest.mark.parametrize(
    "name", ["x' or 1==1 //", "other-job", "luthier-run-0123456789' | union *", "luthier-env-abcdefgh", "", "../secrets"])
def test_no_name_but_one_of_ours_enters_an_address_or_a_query(running: Running, azure: Azure, cloud: Cloud, name: str) -> None:
    before = len(cloud.requests)
    late = LateLogs(azure, running.place)
    asks: tuple[Callable[[], Any], ...] = (
        lambda: own_name(name), lambda: late.lines(name, running.name), lambda: late.system(JOB, name),
        lambda: running.stream.tail(JOB, name))
    for ask in asks:
        assert trouble_of(ask).trouble == "foreign"
    assert len(cloud.requests) == before and running.logs.queries == []


def test_the_first_source_with_lines_is_shown_and_named(running: Running, azure: Azure) -> None:
    def seen() -> tuple[str, tuple[str, ...]]:
        return early_lines(azure, running.place, JOB, running.name)

    assert seen() == ("none", ())
    rows(running, "ContainerAppSystemLogs_CL", "AssigningReplica: waiting")
    assert seen() == ("system", ("AssigningReplica: waiting",))
    rows(running, "ContainerAppConsoleLogs_CL", "late")
    assert seen() == ("analytics", ("late",))
    running.logs.say(running.name, "live")
    assert seen() == ("stream", ("live",))


def test_a_look_for_early_lines_never_raises(running: Running, azure: Azure, cloud: Cloud) -> None:
    cloud.world.signed_in = False
    cloud.world.resources.clear()
    assert early_lines(azure, running.place, JOB, running.name) == ("none", ())
    assert early_lines(azure, running.place, "not ours", "'") == ("none", ())


def test_no_token_is_in_an_error(running: Running, cloud: Cloud) -> None:
    running.logs.busy = 1000
    text = str(trouble_of(lambda: running.stream.tail(JOB, running.name)))
    assert fresh_token(cloud.world).partition(".")[0] not in text and json.dumps(running.logs.tokens)[2:30] not in text
