"""The command line. Heavy imports wait until a command needs them, so that --help is instant."""

import sys
from collections.abc import Sequence

from zsd_ray.cli.stopping import EXIT_STOPPED, stoppable

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    owner = sys._getframe(1).f_globals.get("__name__") == "__main__"
    try:
        with stoppable(main.__code__, owner):
            from zsd_ray.cli.entry import run_command

            return run_command(arguments)
    except KeyboardInterrupt:  # before the command began, or after it was done
        print("zsd-ray: interrupted; run the same command again to resume", file=sys.stderr)
        return EXIT_STOPPED
