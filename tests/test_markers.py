"""Markers come from fixtures, and what is started without one is found out."""

import subprocess
import sys

import pytest
from hypothesis import settings

from tests.support import profiles
from tests.support.profiles import examples


def test_a_program_that_no_fixture_stands_for_is_found_out():
    with pytest.raises(pytest.fail.Exception, match="true is started: ask for a_process"):
        subprocess.run(["true"], check=True)


def test_a_ray_that_no_fixture_stands_for_is_found_out():
    with pytest.raises(pytest.fail.Exception, match="Ray is started: ask for local_ray"):
        subprocess.Popen(["/bin/raylet"])


def test_who_asks_may(a_process, request):
    assert request.node.get_closest_marker("process")
    assert a_process.run([sys.executable, "-c", ""], check=True).returncode == 0


@pytest.mark.few(2)
@pytest.mark.parametrize("number", range(5))
def test_of_five_two_are_quick(number, request):
    assert (request.node.get_closest_marker("full") is None) == (number in (0, 2))


def test_a_share_of_the_examples_is_quick():
    profile = settings().max_examples
    assert profile in (profiles.FULL_EXAMPLES, profiles.QUICK_EXAMPLES)
    assert examples(50).max_examples == profile // 2
    assert examples(1).max_examples == 1


def test_what_starts_a_ray_is_for_the_full_profile(private_ray, request):
    assert request.node.get_closest_marker("cluster")
    assert request.node.get_closest_marker("full")
