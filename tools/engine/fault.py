"""Points at which a test may kill the process or fill its disk; unless LUTHIER_FAULT names one they do nothing.

`name` kills at the first passing of a point, `name:3` at the third; `name:3:raise` raises "no space left on device" there instead,
and `name:3:stop` asks for a stop.
"""

import errno
import os
import signal
from collections.abc import Callable


def _nothing(name: str, /) -> None:
    """A point in a process that nobody tests."""


def planted(wish: str) -> Callable[[str], None]:
    """The point function of a process in which `wish` is to happen."""
    wanted, _, rest = wish.partition(":")
    count, _, what = rest.partition(":")
    left = int(count or 1)

    def passing(name: str, /) -> None:
        nonlocal left
        if name != wanted:
            return
        left -= 1
        if left == 0 and what == "raise":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if left == 0:
            os.kill(os.getpid(), signal.SIGTERM if what == "stop" else signal.SIGKILL)

    return passing


point: Callable[[str], None] = planted(os.environ["LUTHIER_FAULT"]) if "LUTHIER_FAULT" in os.environ else _nothing
