"""The real web face on the small workshop: `python -m tests.browser.fake_server`, as a child process of the browser tests."""

import os
import sys

from ui.stage import set_process_variables


def main() -> int:
    """Serve until killed."""
    set_process_variables(os.environ)
    from agent.settings import Settings
    from tests.ui.fakes_workshop import open_fake
    from ui.server import serve

    return serve(Settings.from_env(), open_fake, lambda line: print(line, flush=True))


if __name__ == "__main__":
    sys.exit(main())
