"""The examples of README and docs: blocks of code, commands, and configuration in running text."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = [
    page
    for page in sorted((ROOT / "docs").rglob("*.md"))
    if page.parent != ROOT / "docs" / "decisions"
]
"""The pages that say what holds now; a decision says what held when it was taken."""
PAGES = [
    ROOT / "README.md",
    *DOCS,
    *sorted((ROOT / "zsd_ray" / "assets").rglob("*.md")),
]
_BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")
_COMMANDS = ("zsd-ray ", "python ", "make ", "ray ", "cluster/", "kubectl apply ")


@dataclass(frozen=True)
class Example:
    """Where it stands, and its text; `inline`: in a sentence, perhaps only a name."""

    where: str
    text: str
    inline: bool = False

    def __str__(self) -> str:
        return self.where


def _where(page: Path, content: str, position: int) -> str:
    return f"{page.relative_to(ROOT)}:{content.count(chr(10), 0, position) + 1}"


def blocks(*languages: str) -> list[Example]:
    """The fenced blocks of these languages; "" are those of none."""
    found = []
    for page in PAGES:
        content = page.read_text(encoding="utf-8")
        found += [
            Example(_where(page, content, match.start()), match[2])
            for match in _BLOCK.finditer(content)
            if match[1] in languages
        ]
    return found


def inline() -> list[Example]:
    """What stands in `backticks`, in one line."""
    found = []
    for page in PAGES:
        content = page.read_text(encoding="utf-8")
        prose = _BLOCK.sub(lambda block: re.sub(r"[^\n]", " ", block[0]), content)
        found += [
            Example(_where(page, content, match.start()), match[1], inline=True)
            for match in _INLINE.finditer(prose)
        ]
    return found


def commands() -> list[Example]:
    """One command each, without its comment; of `ray job submit ... -- COMMAND` also COMMAND."""
    found = []
    for block in blocks(""):
        text = block.text.replace("\\\n", " ")
        for line in text.splitlines():
            for part in line.removeprefix("$ ").split(";"):
                found += [Example(block.where, each) for each in _parts(part.strip())]
    for example in inline():
        found += [Example(example.where, each, inline=True) for each in _parts(example.text)]
    return found


def _parts(text: str) -> Iterator[str]:
    if text.startswith(_COMMANDS):
        yield text
        _, separator, inner = text.partition(" -- ")
        if separator:
            yield inner


def words(command: str) -> list[str]:
    """The words of a command, without what follows two blanks and its placeholders' marks.

    `[--method a|b]` becomes `--method a`: what is optional is given, the first of what may be.
    """
    command = re.split(r"\s{2,}(?![-\[\"'])", command)[0].split(" #")[0]
    command = re.sub(r"\[(--[^\]]*)\]", r"\1", command)
    command = re.sub(r"(?<=[\w-])(\|[\w-]+)+", "", command) if "--" in command else command
    return [word for word in shlex.split(command) if word not in ("...", "&")]
