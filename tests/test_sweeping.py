"""Sweeps in one process, on the built-in model."""

import csv
import json

import pytest

from tests.support.digit_runs import PAPER
from zsd_ray.cli import main
from zsd_ray.config.run import parse_config
from zsd_ray.planning import inputs
from zsd_ray.records.errors import RunBrokenError, UserError
from zsd_ray.studies.sweeps import sweeping
from zsd_ray.studies.sweeps.suite_config import SuiteConfig
from zsd_ray.studies.sweeps.sweeping import sweep

pytestmark = pytest.mark.usefixtures("a_plain_report")

RULE = {"rule": "clark-jaini", "min_scores": 4, "max_scores": 8, "p_value": 0.05}


def suite_of(path, **changes):
    tree = {
        "title": "Two <rules>",
        "run": {"data": {"limit": 4}, "method": PAPER},
        "models": {"digits": {"model": {"path": "builtin:digits"}}},
        "datasets": {
            "digits": {"prompts": {"templates": ["a photo of the digit {}."]}},
            "scenes": {"data": {"source": "two-objects"}, "tasks": ["shape", "color"]},
        },
        "methods": {
            "fixed": {"pruning": {"rule": "none", "draws": 3}},
            "paper": {"pruning": RULE},
        },
        "output": {"path": str(path)},
        "tracking": {"mlflow": "off"},
    }
    return parse_config(SuiteConfig, {**tree, **changes})


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """One sweep with MLflow, and the cells that were begun."""
    path = tmp_path_factory.mktemp("sweep") / "suite"
    begun = []
    suite = suite_of(path, tracking={"mlflow": "auto", "experiment": "suites"})
    result = sweep(suite, local=True, on_cell=lambda cell, *_: begun.append(cell.name))
    return suite, result, begun, path


def test_every_cell_is_run_and_in_the_table(swept):
    _, result, begun, path = swept
    assert (result.record.status, result.record.n_whole, len(begun)) == ("finished", 6, 6)
    rows = list(csv.DictReader((path / "table.csv").read_text().splitlines()))
    assert [(row["dataset"], row["task"], row["method"]) for row in rows] == [
        ("digits", "", "fixed"),
        ("digits", "", "paper"),
        ("scenes", "shape", "fixed"),
        ("scenes", "shape", "paper"),
        ("scenes", "color", "fixed"),
        ("scenes", "color", "paper"),
    ]
    for row in rows:
        totals = json.loads((path.parent / row["path"] / "run.json").read_text())["totals"]
        assert float(row["value"]) == totals["accuracy"]
        assert int(row["images"]) == 4
    assert float(rows[0]["chance"]) == 0.1
    assert float(rows[2]["chance"]) == 0.5
    assert float(rows[0]["evaluations_per_image"]) == 30


def run_info(tracked):
    from mlflow import MlflowClient

    return MlflowClient(tracked.uri).get_run(tracked.run_id).info


def test_a_second_sweep_does_nothing(swept):
    suite, first, _, _ = swept
    begun, before = [], run_info(first.tracked)
    again = sweep(suite, local=True, on_cell=lambda cell, *_: begun.append(cell.name))
    assert begun == []
    assert again.record == first.record
    assert again.tracked == first.tracked
    assert run_info(first.tracked) == before


@pytest.mark.full
def test_more_images_extend_each_cell(swept, tmp_path):
    suite = suite_of(
        tmp_path / "suite", methods={"fixed": {"pruning": {"rule": "none", "draws": 2}}}
    )
    sweep(suite, local=True, limit=2)
    more = sweep(suite, local=True, limit=3)
    assert [cell.images for cell in more.record.cells] == [3, 3, 3]


def test_runs_are_children_of_the_sweeps_own(swept):
    from mlflow import MlflowClient

    _, result, _, path = swept
    client = MlflowClient(f"sqlite:///{path.parent / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("suites")
    runs = client.search_runs([experiment.experiment_id])
    parent = next(run for run in runs if run.info.run_id == result.tracked.run_id)
    children = [run for run in runs if run is not parent]
    assert len(children) == 6
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {result.tracked.run_id}
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["digits/fixed/digits"] == result.record.cells[0].value
    assert {"report.html", "table.md"} <= {
        each.path for each in client.list_artifacts(result.tracked.run_id)
    }


def test_the_page_shows_tables_and_names_are_escaped(swept):
    path = swept[-1]
    page = (path / "report.html").read_text()
    assert "Two &lt;rules&gt;" in page
    assert "Two <rules>" not in page
    assert "Tasks of scenes" in page
    assert 'href="digits/digits/fixed/report.html"' in page
    assert (path / "digits/digits/fixed/report.html").is_file()


@pytest.mark.full
def test_a_cell_that_breaks_off_is_left_and_taken_up_again(tmp_path, monkeypatch):
    suite, real = suite_of(tmp_path / "suite"), sweeping.run_plan

    def broken(plan, *how):
        if "shape" in plan.output.path:
            raise RunBrokenError("the workers fell over")
        return real(plan, *how)

    monkeypatch.setattr(sweeping, "run_plan", broken)
    warnings = []
    first = sweep(suite, local=True, on_warning=warnings.append)
    assert (first.record.status, first.record.n_whole) == ("incomplete", 4)
    assert [cell.status for cell in first.record.cells].count("failed") == 2
    assert "digits / scenes shape / fixed: the workers fell over" in warnings
    monkeypatch.undo()
    begun = []
    second = sweep(suite, local=True, on_cell=lambda cell, *_: begun.append(cell.name))
    assert second.record.status == "finished"
    assert begun == ["digits / scenes shape / fixed", "digits / scenes shape / paper"]


def test_a_cell_that_cannot_start_is_said_and_the_others_are_run(tmp_path):
    missing = {"data": {"source": "mnist", "path": str(tmp_path / "nowhere")}}
    suite = suite_of(
        tmp_path / "suite",
        datasets={"digits": {}, "mnist": missing},
        methods={"fixed": {"pruning": {"rule": "none", "draws": 2}}},
    )
    result = sweep(suite, local=True)
    assert result.record.status == "incomplete"
    assert [cell.status for cell in result.record.cells] == ["finished", "refused"]
    assert "nowhere" in result.record.cells[1].reason


def test_a_suite_of_which_nothing_can_start_is_bad_input(tmp_path):
    suite = suite_of(tmp_path / "suite", models={"gone": {"model": {"path": str(tmp_path / "no")}}})
    with pytest.raises(UserError, match="no cell can start; gone / digits / fixed"):
        sweep(suite, local=True)
    assert not (tmp_path / "suite").exists()


@pytest.mark.full
def test_an_interrupted_sweep_goes_on(tmp_path, monkeypatch):
    suite, real = suite_of(tmp_path / "suite"), sweeping.run_plan

    def interrupted(plan, *how):
        if "shape" in plan.output.path:
            raise KeyboardInterrupt
        return real(plan, *how)

    monkeypatch.setattr(sweeping, "run_plan", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep(suite, local=True)
    record = json.loads((tmp_path / "suite/sweep.json").read_text())
    assert record["status"] == "interrupted"
    assert [cell["status"] for cell in record["cells"]][:3] == ["finished", "finished", "waiting"]


def test_the_command_prints_the_table(swept, capsys, tmp_path):
    suite, _, _, path = swept
    file = tmp_path / "suite.yaml"
    file.write_text(json.dumps(suite.model_dump(mode="json")))
    assert main(["sweep", str(file), "--local"]) == 0
    printed = capsys.readouterr().out
    assert "Accuracy and cost" in printed
    assert "Tasks of scenes" in printed
    assert main(["sweep", str(file), "--local", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "finished"
    assert main(["sweep", str(file), "--local", "--set", "models={}"]) == 2
    assert path.is_dir()


@pytest.mark.full
def test_a_data_set_is_listed_and_a_model_found_once(tmp_path, monkeypatch):
    opened, found = [], []
    listing, finding = inputs.open_dataset, inputs.resolve_model
    monkeypatch.setattr(inputs, "open_dataset", lambda c, s: opened.append(c) or listing(c, s))
    monkeypatch.setattr(inputs, "resolve_model", lambda c, s: found.append(c) or finding(c, s))
    assert sweep(suite_of(tmp_path / "suite"), local=True, limit=1).record.n_whole == 6
    assert len(opened) == 3  # digits, and the scenes for each task
    assert len(found) == 1
