"""Configurations that nobody should write: YAML texts, values of `--set`, and argument lists.

Each must end in one line and exit code 2, or be taken for what it says.
"""

from __future__ import annotations

import random

_LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

TEXTS: dict[str, str] = {
    "a date that is none": "seed: 2026-13-01\n",
    "a number without digits": "seed: 0x_\n",
    "a tag that does not fit": "seed: !!int abc\n",
    "a tag of nothing": "seed: !!int ''\n",
    "a number of 5,001 digits": f"seed: 1{'0' * 5000}\n",
    "a number beyond 64 bits": f"data: {{limit: {10**20}}}\n",
    "an octal number": "prompts: {classes: [010, 011]}\n",
    "a number of base 60": "seed: 1:30\n",
    "not a number": "cluster: {hang_seconds: .nan}\n",
    "infinity": "output: {flush_seconds: .inf}\n",
    "bytes": "output: {path: !!binary aGVsbG8=}\n",
    "a set": "prompts: {classes: !!set {a, b}}\n",
    "pairs": "model: {kwargs: !!pairs [a: 1]}\n",
    "code": "model: !!python/object/apply:os.system [ls]\n",
    "a list of itself": "prompts: {classes: &a [*a]}\n",
    "a mapping of itself": "model: &a {kwargs: *a}\n",
    "a billion laughs": _LAUGHS,
    "a deep list": f"prompts: {{classes: {'[' * 5000}\n",
    "a deep mapping": "model: {kwargs: " + "{a: " * 200 + "1" + "}" * 201 + "\n",
    "half a character": 'output: {path: "\\ud800"}\n',
    "NUL in a path": 'data: {source: folder, path: "a\\0b"}\n',
    "NUL in the file": "seed: 1\x00\n",
    "a repeated key": "seed: 1\nseed: 2\n",
    "a repeated key in a section": "data: {limit: 1, source: digits, limit: 2}\n",
    "yes and no as names": "prompts: {classes: [no, yes]}\n",
    "true for a number": "seed: on\n",
    "true for one of some numbers": "method: {t_range: [false, true]}\n",
    "a label as a number and as text": "prompts: {classes: {1: a, '1': b}}\n",
    "a number for a name": "prompts: {classes: [1e3, b]}\n",
    "null as a label": "prompts: {classes: {null: a, b: c}}\n",
    "a number as a section": "1: x\n",
    "null as a section": "null: x\n",
    "true as a section": "on: x\n",
    "a list as a key": "? [a, b]\n: 1\n",
    "a number as a key of a section": "data: {1: x}\n",
    "true as a key of a section": "model: {yes: x}\n",
    "a list at the top": "- a\n- b\n",
    "text at the top": "just text\n",
    "a number at the top": "7\n",
    "two documents": "seed: 1\n---\nseed: 2\n",
    "a tab": "data:\n\tlimit: 3\n",
    "a value of 100 kB": f"seed: {'x' * 100_000}\n",
    "a name of 100 kB": f"{'x' * 100_000}: 1\n",
    "an alias of nothing": "seed: *nothing\n",
    "a merge of nothing": "<<: 1\n",
    "an empty path": "output: {path: ''}\n",
    "a blank path": "output: {path: '  '}\n",
    "a URL of no protocol": "output: {path: '://x'}\n",
    "a name longer than any file's": f"output: {{path: {'x' * 300}}}\n",
    "a path longer than any file's": f"output: {{path: {'/y' * 3000}}}\n",
    "a text for a section": "data: photos\n",
    "a list for a section": "cluster: [workers]\n",
    "a number for a section": "pruning: 5\n",
    "a list for a rule": "pruning: {rule: [li]}\n",
    "a mapping for a method": "method: {name: {a: b}}\n",
    "null for a family": "model: {family: null}\n",
    "a date as text": "data: {source: 2026-01-13}\n",
    "more draws than memory": "pruning: {rule: none, draws: 4611686018427387904}\n",
    "more workers than memory": "cluster: {workers: 4611686018427387904}\n",
}
"""None of them is a run; by what is wrong."""

GOOD_TEXTS: dict[str, str] = {
    "nothing": "",
    "a comment": "# nothing\n",
    "Windows line ends": "seed: 3\r\ndata: {limit: 2}\r\n",
    "a byte order mark": "\ufeffseed: 3\n",
    "anchors": "data: &a {limit: 3}\noutput: {path: runs/x}\n",
    "a hexadecimal number": "seed: 0x10\n",
    "thousands": "data: {limit: 1_000}\n",
    "a date as a path": "output: {path: 2026-01-13}\n",
}
"""Odd to look at, and right."""

OVERRIDES: dict[str, str] = {
    "no value": "seed",
    "no key": "=1",
    "no section": ".seed=1",
    "a deep key": ".".join(["a"] * 5000) + "=1",
    "a long key": "x" * 100_000 + "=1",
    "a key of a value": "seed.x=1",
    "half a list": "prompts.classes=[a, b",
    "half a mapping": "pruning={rule: none",
    "a name of base 8": "prompts.classes=010",
    "bytes that are no text": "output.path=caf\udce9",
    "a number of 5,000 digits": "seed=" + "9" * 5000,
    "not a number": "cluster.hang_seconds=.nan",
    "a list for a rule": "pruning.rule=[li]",
    "nothing for a section": "output=",
    "an empty path": "output.path=''",
    "tag": "seed=!!int 5",
}
"""Values of `--set` that are refused."""

ARGUMENTS: dict[str, list[str]] = {
    "no images": ["--limit", "0"],
    "fewer than none": ["--limit", "-1"],
    "more than 64 bits": ["--limit", str(10**20)],
    "no number": ["--limit", "1e3"],
    "half an option": ["--lim", "3"],
    "a price of nothing": ["--pilot", "40", "--price", "nan"],
    "an infinite price": ["--pilot", "40", "--price", "inf"],
    "a free GPU": ["--pilot", "40", "--price", "-1"],
    "a pilot of none": ["--pilot", "-5"],
    "a pilot beyond 64 bits": ["--pilot", str(10**20), "--price", "1"],
}
"""Arguments of `zsd-ray plan CONFIG` that are refused."""

_PIECES = [
    "null", "~", "yes", "off", "0", "-1", "0x_", "010", "1:30", "1e400", ".nan", ".inf", "-.inf",
    "2026-13-01", "2026-01-13", "!!int abc", "!!binary aGVsbG8=", "!!set {a}", "!!float ''",
    "&a [*a]", "*a", "<<", "=", "[]", "{}", "[[]]", "{a: {b: {}}}", "''", '"\\0"', '"\\ud800"',
    '"\\n"', "|", ">", "- x", "? x", "@x", "`x`", "%x", "x: y: z", str(10**20), "9" * 5000,
    str(2**63), str(2**62), "1.5", "true", "[1, two, null]", "a" * 3000, "../../etc", "s3://", "://",
    "http://u:p@h/x?y", "~/x", "\u202e", "\ufeff", "\t", "\x00", "\x1b[31m", "é", "#", "{}", "{0}",
]  # fmt: skip


def mutate(text: str, rng: random.Random) -> str:
    """Return a configuration with one thing changed: a value, a key, a line, or a few letters."""
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    line = lines[at]
    key, colon, _ = line.partition(":")
    match rng.randrange(10):
        case 0 | 1 | 2 if colon:
            lines[at] = f"{key}: {rng.choice(_PIECES)}"
        case 3 if colon:
            indent = line[: len(line) - len(line.lstrip())]
            lines[at] = f"{indent}{rng.choice(_PIECES)}:{line.partition(':')[2]}"
        case 4:
            del lines[at]
        case 5:
            lines.insert(rng.randrange(len(lines)), line)
        case 6:
            lines[at] = rng.choice(["  ", " ", "\t", "- "]) + line
        case 7:
            lines[at] = line.lstrip()
        case 8 if line:
            place = rng.randrange(len(line))
            lines[at] = line[:place] + rng.choice(_PIECES) + line[place + rng.randrange(3) :]
        case _:
            place = rng.randrange(len(text) + 1)
            end = place + rng.randrange(20)
            return text[:place] + rng.choice(["", *"{}[]:,#&*!|>'\"%@`-?\n"]) + text[end:]
    return "\n".join(lines)
