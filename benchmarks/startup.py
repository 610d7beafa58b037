"""How long a user waits: `zsd-ray --help`, and from the start of a run to its first score.

    python benchmarks/startup.py [--rounds R] [--quick] [--json]

--quick calls the command line in this process, on one image and without Ray: it shows that the
program works, and its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

CONFIG = Path(__file__).parent.parent / "configs" / "digits.yaml"
QUICK = ["--local", "--limit=1", "--set=pruning.max_scores=4", "--set=pruning.min_scores=2"]
Command = Callable[[Sequence[str]], int]


def process(arguments: Sequence[str]) -> int:
    """`zsd-ray` as users start it; returns its exit code."""
    command = [sys.executable, "-m", "zsd_ray.cli", *arguments]
    return subprocess.run(command, check=False, capture_output=True).returncode


def in_this_process(arguments: Sequence[str]) -> int:
    from zsd_ray.cli import main

    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        try:
            return main(list(arguments))
        except SystemExit as end:  # --help
            return int(end.code or 0)


def timed(command: Command, arguments: Sequence[str], expected: int = 0) -> float:
    """Wall seconds of a whole command."""
    start = time.perf_counter()
    code = command(arguments)
    assert code == expected, f"zsd-ray {' '.join(arguments)} exited with {code}"
    return time.perf_counter() - start


def first_score(command: Command, options: Sequence[str]) -> float:
    """Seconds from the start of the process to the first score: imports, Ray, models, prompts."""
    with tempfile.TemporaryDirectory() as folder:
        run = ["run", str(CONFIG), "--set=tracking.mlflow=off", *options]
        timed(command, [*run, f"--set=output.path={folder}"])
        totals = json.loads((Path(folder) / "run.json").read_text())["totals"]
        # The run's own clock starts when its input is checked: a run that is refused takes as long.
        before = timed(command, [*run, "--set=model.path=builtin:none"], expected=2)
    return before + float(totals["seconds_to_first_score"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round in this process")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    command: Command = in_this_process if options.quick else process
    run = QUICK if options.quick else ["--limit=10"]
    rounds = 1 if options.quick else options.rounds
    helps = [timed(command, ["--help"]) for _ in range(rounds)]
    firsts = [first_score(command, run) for _ in range(rounds)]
    if options.json:
        print(json.dumps({"help_seconds": helps, "first_score_seconds": firsts}))
        return
    print(f"zsd-ray --help       {statistics.median(helps):6.2f} s   goal under 0.5")
    print(f"start to first score {statistics.median(firsts):6.2f} s   goal under 15")


if __name__ == "__main__":
    main()
