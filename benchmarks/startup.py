"""How long a user waits: `zsd-ray --help`, and from the start of a run to its first score.

python benchmarks/startup.py [--rounds R] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIG = Path(__file__).parent.parent / "configs" / "digits.yaml"
ZSD_RAY = [sys.executable, "-m", "zsd_ray.cli"]


def timed(command: list[str], expected: int = 0) -> float:
    """Wall seconds of a whole process."""
    start = time.perf_counter()
    code = subprocess.run(command, check=False, capture_output=True).returncode
    assert code == expected, f"{command} exited with {code}"
    return time.perf_counter() - start


def first_score() -> float:
    """Seconds from the start of the process to the first score: imports, Ray, models, prompts."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*ZSD_RAY, "run", str(CONFIG), "--limit=10", "--set=tracking.mlflow=off"]
        timed([*command, f"--set=output.path={folder}"])
        totals = json.loads((Path(folder) / "run.json").read_text())["totals"]
        # The run's own clock starts when its input is checked: a run that is refused takes as long.
        before = timed([*command, "--set=model.path=builtin:none"], expected=2)
    return before + float(totals["seconds_to_first_score"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    helps = [timed([*ZSD_RAY, "--help"]) for _ in range(options.rounds)]
    firsts = [first_score() for _ in range(options.rounds)]
    if options.json:
        print(json.dumps({"help_seconds": helps, "first_score_seconds": firsts}))
        return
    print(f"zsd-ray --help       {statistics.median(helps):6.2f} s   goal under 0.5")
    print(f"start to first score {statistics.median(firsts):6.2f} s   goal under 15")


if __name__ == "__main__":
    main()
