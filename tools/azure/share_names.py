"""Names on a share, which others may have written: what may become a path here, and what may not."""

from policies.tool import ToolFailed

FORBIDDEN = frozenset('\\/:|<>*?"')
LONGEST = 255


def safe_name(name: str) -> bool:
    """Whether one part of a path may be used here and there: no separator, no way up, nothing that Windows would cut off."""
    return (
        0 < len(name) <= LONGEST and name not in (".", "..") and not FORBIDDEN & set(name) and name[-1] not in ". "
        and name.isprintable()
    )


def safe_relative(path: str) -> str:
    """The path, when every part of it is a safe name. ToolFailed `foreign_name` with the part that is not."""
    for part in path.split("/"):
        if not safe_name(part):
            raise ToolFailed("Use a file of the share", f"A name on it cannot be used here: {part[:60]!r}.",
                             "Rename or delete it on the share; Luthier leaves it alone.", kind="foreign_name")
    return path


def without_twins(names: list[str]) -> None:
    """ToolFailed when two names differ in case only: the share takes them for one."""
    seen: dict[str, str] = {}
    for name in names:
        if (other := seen.setdefault(name.casefold(), name)) != name:
            raise ToolFailed("Use files of the share", f"{other[:60]!r} and {name[:60]!r} differ in case only.",
                             "Rename one of them on the share.", kind="foreign_name")
