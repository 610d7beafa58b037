"""What runs on this machine, and waiting for it."""

import time
from pathlib import Path


def _descendants(pid):
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # gone meanwhile
        return []
    return [process for child in children for process in (int(child), *_descendants(int(child)))]


def actors(ancestor, kind):
    """Processes of actors of a class, below a process: a raylet, or what started a private Ray."""
    found = []
    for process in _descendants(ancestor):
        try:
            command = Path(f"/proc/{process}/cmdline").read_bytes()
        except OSError:
            continue
        if command.startswith(f"ray::{kind}".encode()):
            found.append(process)
    return sorted(found)


SECONDS = 400
"""For anything to come about: on a machine that others use too, little is as slow as that."""


def wait_until(condition, seconds=SECONDS, still=lambda: True):
    """Wait for a condition; fail at once where `still` does not hold, and after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert still(), "it cannot come about any more"
        assert time.monotonic() < end, "this did not come about"
        time.sleep(0.2)
