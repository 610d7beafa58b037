"""The commands that ask a run its own task's question, as users meet them."""

import json

import pytest

from tests.analysis.made_up_pairs import PAPER, write_pairs
from zsd_ray.cli import main

EXAMPLES = [[[1, 4], [3, 2]], [[1, 2], [5, 4]], [[1, 2], None], [[2, 1], [1, 2]]]


def test_pairs_prints_three_scores(tmp_path, capsys):
    run = write_pairs(tmp_path / "run", EXAMPLES)
    assert main(["pairs", run]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "score  right   share                 by chance",
        "text   2 of 3  66.7% [20.8%, 93.9%]  25.0%",
        "image  1 of 3  33.3% [6.1%, 79.2%]   25.0%",
        "group  1 of 3  33.3% [6.1%, 79.2%]   16.7%",
        "",
        "1 example left out: not all four scores are there",
    ]


def test_pairs_says_what_means_nothing(tmp_path, capsys):
    run = write_pairs(tmp_path / "run", EXAMPLES, method=PAPER)
    assert main(["pairs", run]) == 0
    out = capsys.readouterr().out
    assert "image and group score mean nothing here" in out
    assert "method.normaliser: null-prompt" in out


def test_pairs_for_programs(tmp_path, capsys):
    run = write_pairs(tmp_path / "run", EXAMPLES)
    assert main(["pairs", run, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["scores"]["text"]["right"] == 2
    assert (found["n_left_out"], found["doubt"]) == (1, None)


def test_bad_input_is_one_line_and_exit_code_2(tmp_path, capsys):
    assert main(["pairs", f"{tmp_path}/x"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith(f"zsd-ray: error: there is no run at {tmp_path}/x")


@pytest.mark.parametrize("command", ["pairs"])
def test_the_options_are_these(command, capsys):
    """A frozen list: an option is a promise."""
    with pytest.raises(SystemExit):
        main([command, "--help"])
    words = capsys.readouterr().out.replace("[", " ").replace("]", " ").split()
    options = {word.strip(",") for word in words if word.startswith("--")}
    assert options == {"--help", "--set", "--json"}
