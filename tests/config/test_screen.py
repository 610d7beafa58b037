"""The screen section, and its place in a run's identity."""

import pytest

from zsd_ray.config.identity import differences, hash_of, identity_parts
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.records.errors import UserError


def screen(**keys):
    return parse_config(RunConfig, {"screen": keys}).screen


def test_a_run_has_no_screen_unless_it_is_told():
    assert parse_config(RunConfig, {}).screen is None
    assert screen(run="runs/clip", top=50).audit == 0.02


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"top": 3}, "screen: takes run .* or tree .* but came with neither"),
        ({"run": "a", "tree": "b", "top": 3}, "but came with both"),
        ({"run": "a"}, "screen.top: came .* field required"),
        ({"run": "a", "top": 0}, "screen.top: came 0"),
        ({"run": "a", "top": 3, "audit": 1.5}, "screen.audit: came 1.5"),
        ({"run": "a", "tops": 3}, "unknown key screen.tops; did you mean 'top'"),
    ],
)
def test_a_bad_section_is_refused_in_one_line(keys, words):
    with pytest.raises(UserError, match=words) as caught:
        screen(**keys)
    assert "\n" not in str(caught.value)


def parts(tree, chosen=None):
    return identity_parts(parse_config(RunConfig, tree), ("a", "b"), (0, 1), "f", chosen)


def test_what_was_chosen_belongs_to_the_identity_and_where_it_lies_does_not():
    here, there = ({"screen": {"run": path, "top": 3}} for path in ("here", "there"))
    assert hash_of(parts(here, {"run": "x"})) == hash_of(parts(there, {"run": "x"}))
    assert differences(parts(here, {"run": "x"}), parts(here, {"run": "y"})) == [
        'screen.run was "x", now "y"'
    ]


def test_a_run_without_a_screen_is_the_run_that_it_was_before_there_were_screens():
    assert "screen" not in parts({})
