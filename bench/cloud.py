"""`python -m bench.cloud`: files to and from a share, what a run asks of Azure, how soon a log line is on the screen; all at a stand-in."""

import asyncio
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from azure.storage.fileshare import ShareClient, ShareServiceClient

from bench.figure import ROOT, Figure, median, show
from tests.azure.cloud import Cloud, signed_out
from tests.azure.run_home import QUICK, RunHome, trains, works
from tools.azure.files import CHUNK, RANGE, WORKERS, Share
from tools.runs.cloud_look import WAITS
from tools.runs.cloud_row import Phase
from ui.stream import run_frames

MIB, ROUNDS = 128, 7
LINES, TAILED_S = 40, 60.0
_POLL = re.compile(r"/executions$")
_MARK = re.compile(r"bench (\d+)")


@contextmanager
def share() -> Iterator[tuple[ShareClient, Path]]:
    """A share in another process, and a folder for files."""
    with tempfile.TemporaryDirectory() as folder, subprocess.Popen(
            [sys.executable, "-m", "bench.cloud_share", str(Path(folder) / "cloud")], cwd=ROOT, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None and child.stdout is not None
        facts = json.loads(child.stdout.readline())
        credential = {"account_name": facts["account"], "account_key": facts["key"]}
        service = ShareServiceClient(facts["files"], credential=credential, connection_verify=facts["ca"], max_range_size=RANGE,
                                     max_single_get_size=32 << 20, max_chunk_get_size=CHUNK)
        yield service.get_share_client("luthier"), Path(folder)
        child.stdin.close()


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def transfers() -> list[Figure]:
    """The share's own upload and download against the library's concurrent ones, in turns; ours check the content, too."""
    with share() as (client, folder):
        ours, source, target = Share(client), folder / "source", folder / "target"
        source.write_bytes(os.urandom(MIB << 20))

        def bare_up(name: str) -> None:
            with source.open("rb") as file:
                client.get_file_client(name).upload_file(file, length=MIB << 20, max_concurrency=WORKERS)

        def bare_down(name: str) -> None:
            with target.open("wb") as file:
                client.get_file_client(name).download_file(max_concurrency=WORKERS).readinto(file)

        bare_up("warm")
        ours.put(source, "warm-too")
        sha256 = dict(client.get_file_client("warm-too").get_file_properties().metadata)["sha256"]
        ups, downs = list[tuple[float, float]](), list[tuple[float, float]]()
        for number in range(ROUNDS):
            ups.append((seconds(partial(bare_up, f"bare-{number}")), seconds(partial(ours.put, source, f"ours-{number}"))))
            bare = seconds(partial(bare_down, f"bare-{number}"))
            target.unlink()
            downs.append((bare, seconds(partial(ours.get, f"ours-{number}", target, sha256=sha256))))
            target.unlink()
            for name in (f"bare-{number}", f"ours-{number}"):
                client.get_file_client(name).delete_file()
    return [_ratio("upload", ups), _ratio("download", downs)]


def _ratio(what: str, pairs: list[tuple[float, float]]) -> Figure:
    speeds = [MIB / median([pair[side] for pair in pairs]) for side in (1, 0)]
    note = f"{speeds[0]:.0f} and {speeds[1]:.0f} MiB/s, median of {len(pairs)} interleaved pairs of {MIB} MiB, {WORKERS} at once"
    return Figure(f"azure: {what}, ours / the bare client library", median([bare / ours for bare, ours in pairs]), "×", 0.8, "higher", note)


@contextmanager
def home(**changes: Any) -> Iterator[tuple[RunHome, Cloud]]:
    """A home with a prepared region, signed in to a stand-in of its own."""
    for name in signed_out():
        del os.environ[name]
    with tempfile.TemporaryDirectory() as folder, Cloud(Path(folder) / "cloud") as cloud:
        os.environ.update(cloud.identity)
        made = RunHome(Path(folder) / "home", cloud, **changes)
        made.prepare()
        try:
            yield made, cloud
        finally:
            made.close()


async def calls() -> list[Figure]:
    """What one whole run sends to the resource manager: start, watch, results, settlement."""
    with home(waits=replace(QUICK, settle=0.0)) as (made, cloud):
        cloud.script(works())
        row = await made.until_over(await made.begin(gpu="T4"))
        assert row.phase is Phase.SUCCEEDED, row
        polls = sum(1 for method, path in cloud.requests if method == "GET" and _POLL.search(path))
        note = f"and {polls} lists of its executions, one each look"
        return [Figure("azure: requests of a whole run to the resource manager", len(cloud.requests) - polls, "requests", 40, note=note)]


async def lines() -> list[Figure]:
    """From the write on the share to the frame that a browser gets, at the cadence of the product."""
    with home(waits=WAITS) as (made, cloud):
        cloud.script(trains())
        run = await made.begin(gpu="T4")
        await made.until(lambda: made.row(run).phase is Phase.RUNNING)
        made.reconciler.pass_()  # from here on its own thread looks, every ten seconds
        log, wrote, seen = cloud.executions[0].run_folder / "log.txt", dict[int, float](), dict[int, float]()
        stopping = asyncio.Event()

        def more(mark: str) -> Any:
            made.reconciler.follow(run)
            return made.views.follow_log(run, mark)

        async def read() -> None:
            async for text in run_frames(_nothing(stopping), lambda mark: asyncio.to_thread(more, mark), stopping):
                for found in _MARK.finditer(text):
                    seen.setdefault(int(found[1]), time.perf_counter())
                if len(seen) == LINES:
                    stopping.set()

        reader, chance = asyncio.create_task(read()), random.Random(7)
        for number in range(LINES):
            await asyncio.sleep(chance.uniform(0.3, 1.7))  # a trainer's pace
            with log.open("a") as file:
                file.write(f"bench {number}\n")
            wrote[number] = time.perf_counter()
        await asyncio.wait_for(reader, TAILED_S)
        waits = sorted(seen[number] - at for number, at in wrote.items())
        note = f"median {median(waits):.2f} s, worst {waits[-1]:.2f} s, {LINES} lines"
        return [Figure("azure: log line on the share → screen, p95", waits[int(0.95 * LINES)], "s", 3, note=note)]


async def _nothing(stopping: asyncio.Event) -> AsyncGenerator[Mapping[str, Any], None]:
    await stopping.wait()
    for item in ():
        yield item


def figures() -> list[Figure]:
    """All of them."""
    return [*transfers(), *asyncio.run(calls()), *asyncio.run(lines())]


if __name__ == "__main__":
    show(figures())
