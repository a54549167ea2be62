"""A browser for the browser tests: one that is there, else the distribution's, else Playwright's own download."""

import os
import shutil
import subprocess
from pathlib import Path

from install.progress import Progress
from install.trouble import SetupFailed

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PACKAGES = ("chromium", "fonts-dejavu-core")
ASK_PLAYWRIGHT = """
import os, sys
from playwright.sync_api import sync_playwright
with sync_playwright() as driver:
    sys.exit(not os.path.exists(driver.chromium.executable_path))
"""


def find_browser() -> str | None:
    """A Chromium on PATH that starts. (Ubuntu's `chromium-browser` may be a stub that only names a snap.)"""
    for name in NAMES:
        path = shutil.which(name)
        if path and _starts(path):
            return path
    return None


def _starts(path: str) -> bool:
    try:
        return subprocess.run([path, "--version"], capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def has_playwright_browser(python: Path) -> bool:
    """Whether Playwright's own Chromium was downloaded earlier."""
    return subprocess.run([str(python), "-c", ASK_PLAYWRIGHT], capture_output=True, check=False).returncode == 0


def is_debian() -> bool:
    """Whether this is Debian or Ubuntu, with apt-get."""
    try:
        text = Path("/etc/os-release").read_text()
    except OSError:
        return False
    return ("ID=debian" in text or "ID=ubuntu" in text or "ID_LIKE=debian" in text) and shutil.which("apt-get") is not None


def get_browser(python: Path, log: Path, progress: Progress, *, ci: bool) -> bool:
    """Find or install a browser; True when the browser tests can run. Where CI is set, none is a failure."""
    if find_browser() or has_playwright_browser(python):
        return True
    if is_debian() and os.geteuid() == 0:
        progress.step(f"The browser tests need Chromium: installing the distribution's ({', '.join(PACKAGES)}) with apt-get …")
        if _apt(log, progress) and find_browser():
            return True
    progress.step("The browser tests need Chromium: trying Playwright's own download …")
    own = [str(python), "-m", "playwright", "install", "chromium"]
    if _run(own, log, progress, "Playwright's Chromium") and has_playwright_browser(python):
        return True
    if ci:
        raise SetupFailed("getting a browser for the browser tests", "none is installed and none could be.",
                          f"The whole story is in {log}.")
    bar = "!" * 78
    progress.line(f"{bar}\nNO BROWSER: the browser tests will be SKIPPED. To run them: `sudo apt-get install {' '.join(PACKAGES)}`\n"
                  f"(or your system's Chromium or Chrome), then `make test` again.\n{bar}")
    return False


def _apt(log: Path, progress: Progress) -> bool:
    install = ["apt-get", "install", "-y", "--no-install-recommends", *PACKAGES]
    return _run(["apt-get", "update"], log, progress, "apt-get update") and _run(install, log, progress, "apt-get install chromium")


def _run(command: list[str], log: Path, progress: Progress, title: str) -> bool:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as kept:
        kept.write(f"$ {' '.join(command)}\n")
        kept.flush()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=kept, stderr=subprocess.STDOUT,
                                 env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
        try:
            while child.poll() is None:
                progress.update(title)
                try:
                    child.wait(1)
                except subprocess.TimeoutExpired:
                    continue
        except BaseException:
            child.terminate()
            child.wait()
            raise
    return child.returncode == 0
