"""`python -m ui`: sets the process-wide variables before anything else of ours is imported, then runs the terminal's commands."""

import os
import sys


def main() -> int:
    """Run the command line; the exit status is the process's."""
    if sys.platform == "win32":
        sys.stderr.write("Luthier does not run on native Windows. Install WSL 2 (`wsl --install` in PowerShell), then start it there.\n")
        return 1
    from ui.stage import set_process_variables

    set_process_variables(os.environ)
    from ui.cli import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
