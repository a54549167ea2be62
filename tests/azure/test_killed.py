"""kill -9 at any point of what goes on in the cloud, and beside any write that leaves the process: the next program keeps every promise."""

import itertools
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.azure.cloud import Cloud, signed_out
from tests.azure.faults import Fault
from tests.azure.scenes import SCENES, START, Scene, send_program
from tests.faults.nursery import Nursery
from tests.faults.proof import WHOLE, proves
from tests.tools.fakes_runs import ROOT
from tools.runs.cloud_look import Action
from tools.runs.cloud_row import Phase

ROOMS = ("tools/azure", "tools/runs", "tools/serve")
WHERE = (
    (r"cloud\.(register|group|account|share|logs|environment|link|place)\.", "prepare"), (r"cloud\.teardown\.", "teardown"),
    (r"cloud\.orphan\.", "orphan"), (r"cloud\.deploy\.(switch|deactivate)", "canary"),
    (r"cloud\.deploy\.|cloud\.app\.", "deploy"), (r"cloud\.adopt\.", "adopt"),
    (r"cloud\.again\.", "resume"),
    (r"cloud\.(wish|stopping|stopped|running|act\.stop)\.", "stop"), (r"cloud\.finishing\.", "linger"), (r"cloud\.failed\.", "break"),
    (r"cloud\.infra_retry\.", "retry"), (r"cloud\.start_unknown\.", "unknown"), (r"cloud\.lost\.", "gone"),
    (r"cloud\.over_budget\.", "cap"), (r"cloud\.", "run"),
)
"""The scene that passes a point: the first that fits."""
NEVER = {"cloud.approved", "cloud.destroyed"}
"""Phases that no move ends in: `create` writes the first, and nothing the last."""
SAMPLE = {
    "cloud.act.put.after", "cloud.start_requested.after", "cloud.act.start.after", "cloud.fetch.file", "cloud.wish.after",
    "cloud.account.after", "cloud.teardown.link",
}


def points() -> list[str]:
    """Every point of the cloud that the product's source names; one whose name is put together is every name that it can be."""
    files = [path for room in ROOMS for path in sorted((ROOT / room).glob("*.py"))]
    said = [name for path in files for name in re.findall(r"\bfault\.point\(f?\"([^\"]+)\"\)", path.read_text())]
    found = list[str]()
    kinds = get_args(Action.__dataclass_fields__["kind"].type) or ("upload", "put", "start", "stop", "fetch")
    for name in said:
        if "{after.phase}" in name:
            found += [name.replace("{after.phase}", each) for each in Phase]
        elif name.startswith("{point}"):
            found += [name.replace("{point}", f"cloud.act.{each}") for each in kinds]
        else:
            found.append(name)
    return sorted({each for each in found if not each.startswith("runs.") and each.rpartition(".")[0] not in NEVER})


def scene_of(point: str) -> str:
    """The scene that passes it. StopIteration for a point that nobody has thought of."""
    return next(scene for pattern, scene in WHERE if re.match(pattern, point))


NewScene = Callable[..., Awaitable[Scene]]


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """Forks programs."""
    made = Nursery("tests.azure.killed")
    yield made
    made.close()


@pytest.fixture
def new_scene(nursery: Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NewScene]:
    """Makes scenes, each in a cloud of its own; the training program lies on the share unless its way there is what is killed."""
    for name in signed_out():
        monkeypatch.delenv(name)
    clouds, number = list[Cloud](), itertools.count()
    with ExitStack() as open_:
        async def make(name: str, sent: bool = True, **facts: Any) -> Scene:
            folder = tmp_path / str(next(number))
            folder.mkdir()
            clouds.append(open_.enter_context(Cloud(folder / "azure")))
            for key, value in clouds[-1].identity.items():
                monkeypatch.setenv(key, value)
            scene = Scene(name, folder, clouds[-1], nursery)
            scene.facts |= facts
            if sent and name not in ("prepare", "teardown"):
                send_program(clouds[-1])
            if name == "adopt":
                await scene.lose()
            return scene

        yield make
    assert [each for cloud in clouds for each in cloud.violations] == []


def _marked(names: list[str], scene: Callable[[str], str]) -> list[Any]:
    return [pytest.param(each, marks=pytest.mark.engine if scene(each) in ("deploy", "canary") else ()) for each in names]


@proves("F6", "killed between the creation of a cloud job and its start", "it is started once, by whoever comes back")
@pytest.mark.parametrize("point", _marked([each for each in points() if WHOLE or each in SAMPLE], scene_of))
async def test_killed_at_a_point_the_next_program_keeps_every_promise(new_scene: NewScene, point: str) -> None:
    scene = await new_scene(scene_of(point), "upload" not in point)
    assert scene.killed(point), f"{point} was not passed: {scene.trace()[-5:]}"
    scene.goes_on()


def test_the_sample_names_points_that_exist() -> None:
    assert set(points()) >= SAMPLE


@pytest.mark.parametrize("name", _marked(list(SCENES) if WHOLE else ["prepare", "teardown", "resume"], str))
async def test_between_any_two_writes_that_leave_the_process_there_is_a_point(new_scene: NewScene, name: str) -> None:
    scene = await new_scene(name, sent=False)
    assert scene.live() == 0, scene.town.trouble()
    last, bare = "", list[tuple[str, str]]()
    for each in scene.trace():
        if "write" in each:
            pieces = last == each["write"] and last.endswith(".part")  # of one file, which go side by side
            bare += [(last, each["write"])] if last and not pieces else []
            last = each["write"]
        elif not each["point"].startswith("wire."):
            last = ""
    assert not bare


@pytest.mark.parametrize("name", _marked(list(SCENES) if WHOLE else ["stop"], str))
@pytest.mark.parametrize(("wish", "stride"), [("wire.arm.after", 1), ("wire.share.after", 60), ("commit.after", 17)] if WHOLE
                         else [("wire.arm.after", 2)])
async def test_killed_beside_any_write_the_next_program_keeps_every_promise(
        new_scene: NewScene, name: str, wish: str, stride: int) -> None:
    for number in itertools.count(1, stride):
        scene = await new_scene(name, sent=not wish.startswith("wire.share"))
        if not scene.killed(f"{wish}:{number}"):
            break
        scene.goes_on()


AROUND = ("cloud.start_requested.before", "cloud.start_requested.after", "cloud.act.start.before", "cloud.act.start.after",
          "wire.arm.after:2")
"""Before and after the start is committed and sent; the last: as soon as it was answered, whatever the answer is."""
LOST = (Fault.ACCEPTED_503, Fault.REFUSED_503, Fault.TORN_BODY, Fault.DROP, Fault.LATE, Fault.ACCEPTED_202_THEN_204)


@proves("F7", "killed after a cloud start was sent, before its answer", "one execution, adopted by its run; the ledger within its cap")
@pytest.mark.parametrize("fault", LOST if WHOLE else LOST[:1], ids=lambda each: each.name)
@pytest.mark.parametrize("point", AROUND if WHOLE else AROUND[-1:])
async def test_killed_around_a_start_whose_answer_is_lost_it_runs_once(new_scene: NewScene, point: str, fault: Fault) -> None:
    scene = await new_scene("run", in_flight=3)
    scene.cloud.faults.at("POST", START, fault, seconds=1)
    assert scene.killed(point), f"{point} was not passed: {scene.trace()[-5:]}"
    scene.goes_on()
    assert len(scene.cloud.executions) == 1
