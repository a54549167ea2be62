"""The log of a run in the cloud before its own file begins: what Azure heard, and which source it was."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from policies.tool import Call
from tests.azure.cloud import Cloud
from tests.azure.executions import ScriptedExecution, never_starts
from tests.azure.logs_server import logs_of
from tests.azure.run_home import OWNER, QUICK, RunHome
from tools.runs.early_log import EarlyLog
from tools.runs.early_stream import EarlyStreams
from tools.runs.look import LogArgs, TailLogs

ME = Call("call", OWNER.person)


@pytest.fixture
def homes(cloud: Cloud, tmp_path: Path) -> Iterator[RunHome]:
    """A home whose region is prepared."""
    home = RunHome(tmp_path / "home", cloud, waits=replace(QUICK, no_start=60))
    home.prepare()
    yield home
    home.close()


def tool(homes: RunHome) -> TailLogs:
    """As the toolbox makes it."""
    return TailLogs(homes.runs, homes.views, EarlyLog(homes.azure, homes.prepared, homes.store))


async def test_lines_come_from_the_stream_until_the_runs_own_log_begins(homes: RunHome, cloud: Cloud) -> None:
    cloud.script(ScriptedExecution())
    run = await homes.begin(gpu="T4")
    await homes.until(lambda: bool(homes.row(run).execution))
    execution = cloud.executions[0]
    logs_of(cloud.world).say(execution.name, "Error: no wheel hf_aaaaaaaaaaaaaaaaaaaaaaaaaaaa")
    first = tool(homes).perform(LogArgs(run_id=run), ME)
    assert first.result["lines"] == ["Error: no wheel <secret: huggingface_token>"] and first.result["source"] == "stream"
    assert first.for_brain["source"] == "stream" and first.for_brain["lines_with_errors"] == 1 and "wheel" not in str(first.for_brain)
    (execution.run_folder / "log.txt").write_text("its own\n")
    await homes.until(lambda: bool(homes.views.log(run).lines))
    assert tool(homes).perform(LogArgs(run_id=run), ME).result["lines"] == ["its own"]
    await homes.gateway.call("cancel_run", {"run_id": run}, OWNER)
    await homes.until_over(run)


async def test_a_run_that_waits_for_its_machine_has_no_lines_and_says_so(homes: RunHome, cloud: Cloud) -> None:
    cloud.script(never_starts())
    run = await homes.begin(gpu="T4")
    assert tool(homes).perform(LogArgs(run_id=run), ME).result["source"] == "none"
    await homes.until(lambda: bool(homes.row(run).execution))
    assert tool(homes).perform(LogArgs(run_id=run), ME).result == {"run_id": run, "lines": [], "offset": 0, "source": "none"}
    await homes.gateway.call("cancel_run", {"run_id": run}, OWNER)
    await homes.until_over(run)


async def test_whoever_watches_reads_the_stream_line_by_line_over_a_cut_until_the_runs_own_log_takes_over(
    homes: RunHome, cloud: Cloud,
) -> None:
    cloud.script(ScriptedExecution())
    run = await homes.begin(gpu="T4")
    await homes.until(lambda: bool(homes.row(run).execution))
    execution, logs = cloud.executions[0], logs_of(cloud.world)
    streams = EarlyStreams(homes.azure, homes.prepared, homes.store, homes.local.folder)
    seen: list[str] = []
    mark = ""

    def heard(wanted: list[str]) -> bool:
        nonlocal mark
        streams.want(run)
        news = homes.views.follow_log(run, mark)
        mark = news.mark
        seen[:] = [*([] if news.again else seen), *news.lines]
        return seen == wanted

    logs.cut_after = [1]
    logs.say(execution.name, "pulling torch")
    await homes.until(lambda: heard(["pulling torch"]))
    logs.say(execution.name, "pulled, hf_aaaaaaaaaaaaaaaaaaaaaaaaaaaa")
    await homes.until(lambda: heard(["pulling torch", "pulled, <secret: huggingface_token>"]))
    assert len(logs.connections) >= 2, "the cut connection was made anew"
    (execution.run_folder / "log.txt").write_text("its own\n")
    await homes.until(lambda: heard(["its own"]))
    connections = len(logs.connections)
    streams.want(run)
    streams.close()
    assert len(logs.connections) == connections, "nobody asks the stream of a run that writes its own log"
    await homes.gateway.call("cancel_run", {"run_id": run}, OWNER)
    await homes.until_over(run)
