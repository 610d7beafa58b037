"""Throws hostile input at the product, and reports every traceback, hang, crash and foreign file.

    python benchmarks/fuzz.py [--seconds N] [--inputs N] [--seed S] [--kind KIND ...]

Configurations, command lines, model folders, outputs, tars, Parquet files and pictures are damaged
one after the other, and a command of the product is given each. Any of its exit codes is right but
that of an error that nobody foresaw (70); what it writes outside of its own folder, a wait of a
minute, and four gigabytes of memory are wrong. A finding names the kind, the seed and the number of
its input: `--kind KIND --seed S --first NUMBER --inputs 1` repeats it. The exit code is 1 where
there was one.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TypeAlias

from fuzz_trial import Finding, Passed, Started, kind_of, work

KINDS = ("config", "arguments", "model", "output", "tar", "parquet", "picture")
Item: TypeAlias = Started | Passed | Finding


class Deadline:
    """The end of the time: so many seconds after the first outcome, as start-up does not count."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end: float | None = None

    def start(self) -> None:
        self._end = self._end or time.monotonic() + self._seconds

    def is_over(self) -> bool:
        return self._end is not None and time.monotonic() > self._end


def run(
    options: argparse.Namespace, seconds: float
) -> tuple[Counter[tuple[str, str]], list[Finding]]:
    """Try inputs until the time is over; count (kind, outcome), and return the findings.

    They are tried in another process; where that dies, the next one begins behind the input that
    it died of.
    """
    outcomes: Counter[tuple[str, str]] = Counter()
    found: list[Finding] = []
    deadline = Deadline(seconds)
    first = options.first
    while first < options.first + options.inputs and not deadline.is_over():
        before = first
        for item in _in_a_process(options, first, deadline):
            deadline.start()
            if isinstance(item, Started):
                first = item.number + 1
            elif isinstance(item, Passed):
                outcomes[item.kind, f"exit {item.code}"] += 1
            else:
                outcomes[item.kind, item.what] += 1
                found.append(item)
                print(_shown(item, options.seed), flush=True)
        if first == before:  # an undamaged input is refused
            break
    return outcomes, found


def _in_a_process(options: argparse.Namespace, first: int, deadline: Deadline) -> Iterator[Item]:
    """What comes out of a working process until it ends, or is killed at the end of the time."""
    context = multiprocessing.get_context("spawn")
    number = first
    with tempfile.TemporaryDirectory(prefix="fuzz-") as sandbox:
        queue = context.SimpleQueue()
        process = context.Process(target=work, args=(Path(sandbox), options, first, queue))
        process.start()
        while not deadline.is_over():
            if not queue.empty():
                item = queue.get()
                number = item.number if isinstance(item, Started) else number
                yield item
            elif process.is_alive():
                time.sleep(0.01)
            else:
                break
        if deadline.is_over():
            process.kill()
        process.join()
        if process.exitcode not in (0, -signal.SIGKILL):
            kind = kind_of(number, options.kind)
            yield Started(number)
            yield Finding(kind, number, "crash", "", "", f"exit code {process.exitcode}")


def _shown(finding: Finding, seed: int) -> str:
    again = f"--kind {finding.kind} --seed {seed} --first {finding.number} --inputs 1"
    return f"FOUND {finding.what} ({again}): {finding.done}\n  {finding.command}\n{finding.text}\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="start-up apart")
    parser.add_argument("--inputs", type=int, default=10**6, metavar="N")
    parser.add_argument("--first", type=int, default=0, metavar="NUMBER", help="of the inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--quick", action="store_true", help="twenty seconds")
    parser.add_argument("--json", action="store_true", help="for programs")
    options = parser.parse_args()
    outcomes, findings = run(options, 20 if options.quick else options.seconds)
    if options.json:
        inputs = {kind: {w: n for (k, w), n in outcomes.items() if k == kind} for kind in KINDS}
        rows = [asdict(finding) for finding in findings]
        print(json.dumps({"seed": options.seed, "inputs": inputs, "findings": rows}, indent=2))
    else:
        for kind in options.kind:
            counts = {what: n for (k, what), n in sorted(outcomes.items()) if k == kind}
            shares = ", ".join(f"{what}: {n}" for what, n in counts.items())
            print(f"{kind:10} {sum(counts.values()):6} inputs  {shares}")
        print(f"{outcomes.total()} inputs, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
