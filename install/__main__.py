"""`python3 -m install STEP`: the set-up, in steps. Older Pythons can read it."""

from __future__ import annotations

import os
import sys

from install.python import check_system, choose_python, fits, root
from install.trouble import SetupFailed

USAGE = "python3 -m install run | prepare | azure | checks | test | locks [--upgrade] | (newcomer | newcomer-azure) [--limit MINUTES]"


def main(words: list[str]) -> int:
    """Run one step; 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C."""
    try:
        check_system()
        if not fits(sys.version_info[:2]):
            python = choose_python()
            os.execv(python, [python, "-m", "install", *words])
        return act(words)
    except SetupFailed as failure:
        print(f"\nLuthier could not go on with {failure.what}.\n{failure.because}\n{failure.try_next}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Nothing half made is used: run the same command again, and it goes on from what is whole.", file=sys.stderr)
        return 130


def act(words: list[str]) -> int:
    """Run the step that the words name, on a Python that fits."""
    from install.choices import Choices
    from install.progress import Progress

    progress, here = Progress(), root()
    verb, rest = (words[0] if words else ""), words[1:]
    if verb == "run":
        from install.run import run

        run(here, Choices.read(here), progress)
    elif verb == "prepare":
        from install.run import prepare

        prepare(here, Choices.read(here), progress)
    elif verb == "azure":
        from install.run import add_azure

        add_azure(here, Choices.read(here), progress)
    elif verb == "checks":
        from install.tests import prepare_checks

        prepare_checks(here, Choices.read(here), progress)
    elif verb == "test":
        from install.tests import prepare_tests

        prepare_tests(here, Choices.read(here), progress)
    elif verb == "locks":
        from install.locks import make_locks

        make_locks(here, progress, upgrade="--upgrade" in rest)
    elif verb == "newcomer-azure":
        from install.newcomer_azure import newcomer_azure

        return newcomer_azure(here, rest)
    elif verb == "newcomer":
        from install.newcomer import newcomer

        return newcomer(here, rest)
    else:
        print(f"usage: {USAGE}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
