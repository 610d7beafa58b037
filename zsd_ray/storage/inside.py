"""Names from foreign files that become paths: they must stay below a given folder.

Keys of objects, members of archives, shards that an index names: any of them may point outside of
the folder.
"""

from __future__ import annotations

from pathlib import Path

from zsd_ray.records.errors import UserError
from zsd_ray.records.redaction import redact

_LONGEST_SHOWN = 120


def is_inside(name: str) -> bool:
    """Return whether a relative name with slashes stays below any folder that it is joined to.

    It does not where a part of it is empty, `.` or `..`, so that `/x`, `a//x` and `a/../x` do not
    either; nor with a backslash, a null or a drive, which other systems read as parts.
    """
    parts = name.split("/")
    return (
        not any(part in ("", ".", "..") for part in parts)
        and "\\" not in name
        and "\0" not in name
        and not parts[0].endswith(":")
    )


def path_inside(folder: Path, name: str, shown: str) -> Path:
    """Return where `name` lies below `folder`; nothing is looked up or made.

    Args:
        name: a relative name with slashes, from a foreign file.
        shown: the source of the name in messages, such as "the archive x.tar".

    Raises:
        UserError: it would lie elsewhere.
    """
    if not is_inside(name):
        text = redact(name[:_LONGEST_SHOWN])
        raise UserError(
            f"{shown} names the file {text!r}, which may lie outside of its folder; a relative "
            "name without '..' is expected: rename the file"
        )
    return folder / name


def name_below(root: str, full: str, shown: str) -> str:
    """Return the rest of a full name behind the folder `root`, with slashes, unnormalised.

    Unlike `os.path.relpath`, which turns `a/../../x` into `../x`, this keeps every part, so that
    `path_inside` sees it.

    Raises:
        UserError: the name does not begin with the folder.
    """
    start = root.rstrip("/")
    start = f"{start}/" if start else start
    name = full.removeprefix(start) if full.startswith(start) else ""
    if not name:
        raise UserError(
            f"{shown} lists the file {redact(full[:_LONGEST_SHOWN])!r}, which does not lie in it"
        )
    return name
