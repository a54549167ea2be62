"""Does what a newcomer does: an empty folder, an empty home, the README's commands; prints when each milestone was reached."""

import http.cookiejar
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from install.control import ask, end
from install.progress import Progress
from install.trouble import SetupFailed

SENTENCE = "Fine-tune the bundled model on samples/helpdesk.jsonl"
QUESTION = "Ticket from Vienna: network switch broken again. Nothing pressing."
MARKS = ((".venv is ready", "chat environment"), (".engine-cpu is ready", "training environment"), (".bundled is ready", "bundled model"))
LIMIT_MINUTES = 15.0
USAGE = "make newcomer NEWCOMER='[--limit MINUTES] [--folder EMPTY_FOLDER]'"


class Diary:
    """Milestones and the seconds at which they were reached."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.started = progress, time.monotonic()
        self.reached: list[tuple[str, float]] = []

    def mark(self, name: str) -> None:
        """A milestone is reached now."""
        self.reached.append((name, time.monotonic() - self.started))
        self.progress.step(f"=> {name}")

    def table(self) -> str:
        """Each milestone with the time since the start and since the one before."""
        lines, before = ["milestone                    at      took"], 0.0
        for name, at in self.reached:
            lines.append(f"{name:<26} {clock(at):>6}   {clock(at - before):>6}")
            before = at
        return "\n".join(lines)


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def newcomer(root: Path, words: list[str]) -> int:
    """The whole way; 0 when the tuned model answered otherwise than the base within the limit."""
    limit = float(words[words.index("--limit") + 1]) if "--limit" in words else LIMIT_MINUTES
    chosen = Path(words[words.index("--folder") + 1]) if "--folder" in words else None
    folder = chosen or Path(tempfile.mkdtemp(prefix="luthier-newcomer-"))
    folder.mkdir(parents=True, exist_ok=True)
    progress = Progress()
    try:
        clone, home = folder / "luthier", folder / "person"
        copy_tree(root, clone)
        home.mkdir()
        diary = Diary(progress)
        walk(clone, home, diary, progress)
    finally:
        if chosen is None:
            shutil.rmtree(folder, ignore_errors=True)
    answered = next(at for name, at in diary.reached if name == "both answers")
    progress.line("\n" + diary.table())
    progress.line(f"\nFrom nothing to the tuned model's answer: {clock(answered)} (limit {clock(limit * 60)}).")
    return 0 if answered <= limit * 60 else 1


def copy_tree(root: Path, clone: Path) -> None:
    """What a clone of the working tree holds: tracked and new files, nothing that is ignored."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=root, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (root / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, clone / name)


def newcomers_environment(home: Path) -> dict[str, str]:
    """An empty home, no setting of ours and nobody's key; pip's configuration and proxies as they are."""
    ours = ("LUTHIER_", "XDG_", "OPENAI_", "ANTHROPIC_", "AZURE_", "OLLAMA_", "VIRTUAL_ENV", "PYTHONPATH", "MAKE", "MFLAGS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "HOME": str(home), "LUTHIER_PORT": str(free_port())}


def free_port() -> int:
    """A port that nobody listens on: the newcomer's machine has 8000 free, this one may not."""
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Server:
    """`make run` as a child process, its lines read as they come."""

    def __init__(self, clone: Path, env: dict[str, str], heard: Callable[[str], None]) -> None:
        self.heard, self.said = heard, list[str]()
        self.link, self.ready = "", threading.Event()
        self.child = subprocess.Popen(["make", "run"], cwd=clone, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, text=True, start_new_session=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            self.said.append(line)
            self.heard(line.rstrip())
            for word in line.split():
                if "/enter?t=" in word:
                    self.link = word
                    self.ready.set()
        self.ready.set()

    def wait(self) -> str:
        """The sign-in link. Raises SetupFailed when `make run` ended without one."""
        self.ready.wait()
        if not self.link:
            raise SetupFailed("following the README", "`make run` ended: " + "".join(self.said[-8:]).strip(), "Read what it says.")
        return self.link

    def stop(self) -> None:
        """Ctrl-C, and wait."""
        if self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGINT)
            try:
                self.child.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.child.pid, signal.SIGKILL)
        self.reader.join(10)
        assert self.child.stdout is not None
        self.child.stdout.close()


def walk(clone: Path, person: Path, diary: Diary, progress: Progress) -> None:
    """Every step of the README, once with the set-up and once without."""
    env = newcomers_environment(person)
    home = person / ".luthier"

    def heard(line: str) -> None:
        progress.line(f"    {line}")
        for words, name in MARKS:
            if words in line:
                diary.mark(name)

    server = Server(clone, env, heard)
    try:
        sign_in(server.wait())
        diary.mark("page ready")
        approval = terminal(clone, env, ["say", SENTENCE, "--json"])["approvals"]
        if not approval:
            raise SetupFailed("asking for a run", "the sentence led to no plan card.", "See what `python -m ui say` answers.")
        diary.mark("plan card")
        decided = end(home, {"op": "decide", "id": approval[0]["id"], "answer": "approve"})
        if not decided["ok"] or not decided["answer"]:
            raise SetupFailed("approving the plan", str(decided["message"]), "See `python -m ui approvals`.")
        run_id = decided["answer"]["result"]["run_id"]
        follow(home, run_id, diary)
        compare(home, run_id, progress)
        terminal(clone, env, ["say", f"ask both: {QUESTION}", "--json"])
        diary.mark("both answers")
    finally:
        server.stop()
    second = Server(clone, env, heard)
    try:
        sign_in(second.wait())
        diary.mark("second `make run`")
    finally:
        second.stop()


def sign_in(link: str) -> None:
    """Open the one-time link as a browser does, and see that the chat answers."""
    jar = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(jar))
    with browser.open(link, timeout=60) as page:
        text = page.read().decode(errors="replace")
        if page.status != 200 or not len(jar) or "<html" not in text.lower():
            raise SetupFailed("signing in", f"the link led to {page.url} with status {page.status}.", "Open it in a browser.")


def terminal(clone: Path, env: dict[str, str], words: list[str]) -> dict[str, Any]:
    """One command of the README in the clone; its JSON."""
    command = [str(clone / ".venv" / "bin" / "python"), "-m", "ui", *words]
    done = subprocess.run(command, cwd=clone, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SetupFailed(" ".join(words[:2]), f"it ended with {done.returncode}: {(done.stdout + done.stderr).strip()[-600:]}",
                          "Try the same by hand.")
    return json.loads(done.stdout)


def follow(home: Path, run_id: str, diary: Diary) -> None:
    """Watch the run to its end: the first step, the finish. Raises SetupFailed when it does not finish."""
    view: dict[str, Any] = {}
    stepped = False
    for line in ask(home, {"op": "watch", "run_id": run_id}):
        event = line.get("watch", {})
        if event.get("kind") == "step" and not stepped:
            stepped = True
            diary.mark("first step")
        if event.get("kind") == "view":
            view = event["view"]
    if view.get("state") != "finished":
        raise SetupFailed("training", f"the run is {view.get('state')}: {view.get('reason')}", f"See `python -m ui watch {run_id}`.")
    diary.mark("run finished")


def compare(home: Path, run_id: str, progress: Progress) -> None:
    """Ask base and tuned the same; the answers must differ, at the same precision."""
    request = {"op": "call", "tool": "ask_model", "args": {"prompt": QUESTION, "run_id": run_id, "compare": True}}
    answer = end(home, request)
    answers = answer["result"].get("answers", [])
    for each in answers:
        progress.line(f"    {each['model']}, {each.get('adapter') or 'untuned'}, {each['precision']}: {each['text']!r}")
    if len(answers) != 2 or answers[0]["text"] == answers[1]["text"] or answers[0]["precision"] != answers[1]["precision"]:
        raise SetupFailed("asking both", f"the answer was {answer['status']} {answer['reason']}, {len(answers)} answers.",
                          "Base and tuned should answer differently, at one precision.")
