"""The commands that ask a run its own task's question, as users meet them."""

import json

import pytest

from tests.analysis.made_up_pairs import PAPER, write_pairs
from tests.analysis.made_up_runs import write_run
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


CUES = [("bear/bear1-cat1.png", 0, 0, 9), ("cat/cat1-bear2.png", 1, 0, 9)]


@pytest.fixture
def decisions(tmp_path):
    path = tmp_path / "x_subject-01_session_1.csv"
    rows = "cat,bear,1_bear1-cat1.png\nbear,bear,2_bear2-cat1.png\nbear,bear,3_bear3-cat1.png"
    path.write_text(f"object_response,category,imagename\n{rows}\n")
    return str(path)


def test_shape_bias_prints_a_run_beside_people(tmp_path, capsys, decisions):
    run = write_run(tmp_path / "run", CUES, ["bear", "cat"])
    page = tmp_path / "page.html"
    assert main(["shape-bias", run, "--decisions", decisions, f"--html={page}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("run     2          50.0% [9.5%, 90.5%]")
    assert lines[2].endswith("66.7% [20.8%, 93.9%]")
    assert page.read_text().count("<svg") == 1


def test_shape_bias_for_programs(tmp_path, capsys, decisions):
    run = write_run(tmp_path / "run", CUES, ["bear", "cat"])
    assert main(["shape-bias", run, "--json", "--decisions", decisions]) == 0
    own, people = json.loads(capsys.readouterr().out)["observers"]
    assert own["bias"]["overall"]["shape_bias"]["value"] == 0.5
    assert own["bias"]["of_class"]["cat"]["texture"] == 1
    assert (people["name"], people["n_people"], people["each_person"]) == ("people", 1, [2 / 3])


def refused(capsys, *arguments):
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("zsd-ray: error: ")
    return line


def test_bad_input_is_one_line_and_exit_code_2(tmp_path, capsys):
    for command in ("pairs", "shape-bias"):
        assert f"there is no run at {tmp_path}/x" in refused(capsys, command, f"{tmp_path}/x")
    run = write_run(tmp_path / "run", CUES, ["bear", "cat"])
    line = refused(capsys, "shape-bias", run, "--decisions", f"{tmp_path}/x.csv")
    assert f"--decisions {tmp_path}/x.csv: there is no such file" in line
    line = refused(capsys, "shape-bias", run, f"--html={tmp_path}/no/page.html")
    assert "cannot be written" in line
    (tmp_path / "own.yaml").write_text("seed: 1")
    line = refused(capsys, "shape-bias", run, f"--html={tmp_path}/own.yaml")
    assert "is no page, and is kept" in line
    assert (tmp_path / "own.yaml").read_text() == "seed: 1"


@pytest.mark.parametrize(
    ("command", "own"), [("pairs", set()), ("shape-bias", {"--decisions", "--html"})]
)
def test_the_options_are_these(command, own, capsys):
    """A frozen list: an option is a promise."""
    with pytest.raises(SystemExit):
        main([command, "--help"])
    words = capsys.readouterr().out.replace("[", " ").replace("]", " ").split()
    options = {word.strip(",") for word in words if word.startswith("--")}
    assert options == {"--help", "--set", "--json", *own}
