"""Text files with one name per line, whose order counts."""

from __future__ import annotations

import re

from zsd_ray.records.errors import UserError

_LINE_END = re.compile(r"\r\n|\r|\n")


def parse_names(text: str, shown: str, comments: bool = False) -> list[str]:
    """Return the names of a text, stripped; blank lines after the last name are ignored.

    Args:
        shown: the file's name in messages.
        comments: whether lines that begin with # are left out.

    Raises:
        UserError: a blank line precedes a name. If it stands for a name, skipping it silently would
            change the numbers of all names after it.
    """
    lines = [line.strip() for line in _LINE_END.split(text)]
    kept = [
        (number, line)
        for number, line in enumerate(lines, 1)
        if not (comments and line.startswith("#"))
    ]
    while kept and not kept[-1][1]:
        kept.pop()
    blank = next((number for number, line in kept if not line), None)
    if blank is not None:
        raise UserError(
            f"{shown}: line {blank} is blank, and names follow; remove it, or write the name that "
            "belongs there, since the order of lines counts"
        )
    return [line for _, line in kept]
