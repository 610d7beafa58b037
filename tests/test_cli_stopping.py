"""SIGTERM and Ctrl-C end a command with exit code 130, whenever they come."""

import os
import signal
import subprocess
import sys
import time

import pytest
from pydantic import BaseModel, model_serializer
from pydantic_core import PydanticSerializationError

from zsd_ray.cli.endings import ending_of
from zsd_ray.cli.stopping import stoppable


def kill_me(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


@pytest.fixture
def slow_module(tmp_path, monkeypatch):
    """A module during whose import a signal comes, as torch's takes seconds."""
    (tmp_path / "slow_module.py").write_text(
        "import os, signal, time\n"
        "os.kill(os.getpid(), signal.Signals[os.environ['SIGNAL']])\n"
        "time.sleep(0.2)\n"
        "exec('whole = True')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("slow_module", None)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_an_import_is_not_broken_by_a_signal_which_comes_after_it(slow_module, monkeypatch, name):
    monkeypatch.setenv("SIGNAL", name)
    before = signal.getsignal(signal.Signals[name])

    def command():
        import slow_module

        assert slow_module.whole
        time.sleep(10)

    with pytest.raises(KeyboardInterrupt), stoppable(command.__code__, owner=False):
        command()
    assert sys.modules["slow_module"].whole
    assert signal.getsignal(signal.Signals[name]) is before


def test_a_signal_that_comes_twice_does_not_break_off_the_closing():
    closed = []

    def command():
        try:
            kill_me()
        finally:
            kill_me()
            closed.append(True)

    with pytest.raises(KeyboardInterrupt), stoppable(command.__code__, owner=False):
        command()
    assert closed == [True]


# Where it comes: while the command line is imported, and while arguments are read.
_MOMENTS = {
    "import": "sys.meta_path.insert(0, Finder('zsd_ray.cli.entry'))",
    "later import": "sys.meta_path.insert(0, Finder('zsd_ray.reports.model_lines'))",
    "arguments": "argparse.ArgumentParser.parse_args = kill",
}
# When all is done and Python ends: before its own handlers are gone, and after.
_ENDS = {
    "exit": "atexit.register(kill)",
    "teardown": "last = Last()",
}
_PROGRAM = """
import argparse, atexit, os, signal, sys
from zsd_ray.cli import main
def kill(*_):
    os.kill(os.getpid(), signal.SIGTERM)
    exec('1')
class Finder:
    def __init__(self, name):
        self.name = name
    def find_spec(self, name, path, target=None):
        if name == self.name:
            kill()
class Last:
    def __del__(self, kill=os.kill, me=os.getpid()):
        kill(me, 15)
%s
sys.exit(main(['models']))
"""


@pytest.mark.few(1)
@pytest.mark.usefixtures("a_process")
@pytest.mark.parametrize("moment", _MOMENTS)
def test_every_moment_ends_with_130_and_one_line(moment):
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM % _MOMENTS[moment]],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr == "zsd-ray: interrupted; run the same command again to resume\n"


@pytest.mark.few(1)
@pytest.mark.usefixtures("a_process")
@pytest.mark.parametrize("end", _ENDS)
def test_a_signal_after_a_command_changes_nothing_of_its_end(end):
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM % _ENDS[end]],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


class Interrupted(BaseModel):
    """A section that is written down just when the signal comes."""

    @model_serializer
    def plain(self) -> str:
        raise KeyboardInterrupt


def test_a_signal_inside_what_a_compiled_library_calls_is_one_too():
    with pytest.raises(PydanticSerializationError) as caught:
        Interrupted().model_dump()
    assert ending_of(caught.value).code == 130
