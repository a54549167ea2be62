"""The newcomer's way to Azure: an empty folder, an empty home, the bundled model; the stand-in of the tests takes the place of Azure."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from install.control import end
from install.newcomer import Diary, Server, clock, compare, copy_tree, follow, newcomers_environment, sign_in
from install.progress import Progress
from install.trouble import SetupFailed

WISH = {"model": "bundled", "dataset": "samples/helpdesk.jsonl", "provider": "azure", "gpu": "cpu"}
QUESTION = "Ticket from Vienna: network switch broken again. Nothing pressing."
MARKS = ((".venv is ready", "chat environment"), (".engine-cpu is ready", "training environment"), (".bundled is ready", "bundled model"))
LIMIT_MINUTES = 20.0


class StandIn:
    """The stand-in as a child process of the checkout, which has what tests need."""

    def __init__(self, root: Path, folder: Path, engine: Path) -> None:
        python = root / ".venv" / "bin" / "python"
        self.child = subprocess.Popen([str(python), "-m", "tests.azure.serve", str(folder), str(engine)], cwd=root, text=True,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.variables: dict[str, str] = self._said()
        """What points a program at it."""

    def _said(self) -> dict[str, Any]:
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        if not line:
            raise SetupFailed("starting the stand-in for Azure", "it ended without a word.", "Run `make check` in the checkout first.")
        return json.loads(line)

    def end(self) -> dict[str, Any]:
        """End it; what was left in it."""
        assert self.child.stdin is not None
        self.child.stdin.close()
        left = self._said()
        self.child.wait(60)
        return left

    def kill(self) -> None:
        """End it whatever it does."""
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe is not None:
                pipe.close()


def newcomer_azure(root: Path, words: list[str]) -> int:
    """The whole way; 0 when the model tuned there answered, nothing was left there, and it took no longer than the limit."""
    limit = float(words[words.index("--limit") + 1]) if "--limit" in words else LIMIT_MINUTES
    folder, progress = Path(tempfile.mkdtemp(prefix="luthier-azure-")), Progress()
    try:
        clone, person = folder / "luthier", folder / "person"
        copy_tree(root, clone)
        person.mkdir()
        diary = Diary(progress)
        azure = StandIn(root, folder / "azure", clone / ".engine-cpu" / "bin" / "python")
        try:
            walk(clone, person, azure.variables, diary, progress)
            left = azure.end()
        finally:
            azure.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    progress.line("\n" + diary.table())
    took = diary.reached[-1][1]
    progress.line(f"\nFrom nothing to nothing left: {clock(took)} (limit {clock(limit * 60)}); left there: {left['left'] or 'nothing'}.")
    return 0 if took <= limit * 60 and not left["left"] and not left["violations"] else 1


def walk(clone: Path, person: Path, variables: Mapping[str, str], diary: Diary, progress: Progress) -> None:
    """Set up, prepare, train, fetch, serve, ask, tear down."""
    home = person / ".luthier"

    def heard(line: str) -> None:
        progress.line(f"    {line}")
        for words, name in MARKS:
            if words in line:
                diary.mark(name)

    server = Server(clone, {**newcomers_environment(person), **variables}, heard)
    try:
        sign_in(server.wait())
        diary.mark("page ready")
        place = done(home, "prepare_cloud", {})
        diary.mark("cloud prepared")
        run_id = done(home, "start_finetune", WISH)["run_id"]
        follow(home, run_id, diary)
        fetched = done(home, "fetch_results", {"run_id": run_id})
        if not fetched["verified"]:
            raise SetupFailed("fetching the results", str(fetched["message"]), "See `python -m ui watch`.")
        diary.mark("results verified")
        compare(home, run_id, progress)
        deployed = done(home, "deploy_inference", {"run_id": run_id, "provider": "azure", "gpu": "cpu", "allow_ips": ["127.0.0.1"]})
        answer = done(home, "ask_model", {"prompt": QUESTION, "deployment_id": deployed["deployment_id"]})
        progress.line(f"    there: {answer['answers'][0]['text']!r}")
        diary.mark("endpoint answered")
        done(home, "stop_deployment", {"deployment_id": deployed["deployment_id"]})
        group = str(place["resource_group"])
        done(home, "teardown_cloud", {"resource_group": group, "confirm": group})
        diary.mark("nothing left")
    finally:
        server.stop()


def done(home: Path, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a call, approved where it asks. Raises SetupFailed when it is not done."""
    answer = end(home, {"op": "call", "tool": tool, "args": dict(arguments)})
    if answer["status"] == "waiting":
        decided = end(home, {"op": "decide", "id": answer["approval"]["id"], "answer": "approve"})
        if not decided["ok"] or not decided["answer"]:
            raise SetupFailed(tool, str(decided["message"]), "See `python -m ui approvals`.")
        answer = decided["answer"]
    if answer["status"] != "done":
        raise SetupFailed(tool, f"it is {answer['status']}: {answer['reason']}", str(answer.get("remedy") or "Try the same by hand."))
    return answer["result"]
