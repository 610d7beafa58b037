"""From a suite to its cells."""

from pathlib import Path

import pytest

from zsd_ray.config.run import load_config, parse_config
from zsd_ray.records.errors import UserError
from zsd_ray.studies.sweeps.cells import cell_runs, merged
from zsd_ray.studies.sweeps.suite_config import SuiteConfig, SuitePart

SUITE = {
    "title": "A suite",
    "output": {"path": "runs/suite"},
    "tracking": {"mlflow": "off"},
    "run": {"data": {"limit": 5}, "seed": 3},
    "models": {
        "digits": {"model": {"path": "builtin:digits"}},
        "clip": {"model": {"family": "clip", "path": "ViT-B-32"}, "datasets": ["digits"]},
    },
    "datasets": {
        "digits": {"data": {"source": "digits"}, "prompts": {"templates": ["a digit {}."]}},
        "scenes": {"data": {"source": "two-objects"}, "tasks": ["shape", "color|shape"]},
    },
    "methods": {
        "anytime": {},
        "paper": {"pruning": {"rule": "clark-jaini"}, "method": {"weighting": "heuristic"}},
    },
}


def suite_of(**changes):
    return parse_config(SuiteConfig, {**SUITE, **changes})


def names(**changes):
    return [run.cell.name for run in cell_runs(suite_of(**changes))]


def test_every_model_on_every_data_set_by_every_method():
    assert names() == [
        "digits / digits / anytime",
        "digits / digits / paper",
        "clip / digits / classifier",
        "digits / scenes shape / anytime",
        "digits / scenes shape / paper",
        "digits / scenes color|shape / anytime",
        "digits / scenes color|shape / paper",
    ]


def test_each_has_a_folder_of_its_own():
    paths = [run.config.output.path for run in cell_runs(suite_of())]
    assert len(set(paths)) == len(paths)
    assert paths[0] == "runs/suite/digits/digits/anytime"
    assert paths[-1] == "runs/suite/scenes/color-given-shape/digits/paper"


def test_a_cell_is_what_its_parts_say():
    run = cell_runs(suite_of())[-1].config
    assert (run.seed, run.data.limit, run.data.task) == (3, 5, "color|shape")
    assert (run.pruning.rule, run.draw_method.weighting) == ("clark-jaini", "heuristic")
    assert run.tracking.mlflow == "off"


def test_a_limit_goes_before_all():
    assert {run.config.data.limit for run in cell_runs(suite_of(), limit=2)} == {2}


def test_later_parts_go_first_and_another_rule_starts_anew():
    first = SuitePart(pruning={"rule": "clark-jaini", "min_scores": 9}, data={"limit": 1})
    more = SuitePart(pruning={"max_scores": 30}, data={"source": "digits"})
    other = SuitePart(pruning={"rule": "none", "draws": 4})
    assert merged(first, more)["pruning"] == {
        "rule": "clark-jaini",
        "min_scores": 9,
        "max_scores": 30,
    }
    assert merged(first, more)["data"] == {"limit": 1, "source": "digits"}
    assert merged(first, more, other)["pruning"] == {"rule": "none", "draws": 4}


def test_parts_are_not_changed_by_the_cells():
    suite = suite_of()
    cell_runs(suite, limit=1)
    assert suite.datasets["scenes"].data == {"source": "two-objects"}


def test_damaged_pictures_are_cells_beside_the_whole_ones():
    corruptions = {"of": ["digits"], "kinds": ["jpeg", "contrast"], "strengths": [1, 5]}
    runs = cell_runs(suite_of(corruptions=corruptions, methods={"anytime": {}}))
    of_digits = [run for run in runs if run.cell.dataset == "digits" and run.cell.model == "digits"]
    damage = [run.config.data.corruption for run in of_digits]
    assert damage[0] is None
    assert [(d.kind, d.strength) for d in damage[1:]] == [
        ("jpeg", 1),
        ("jpeg", 5),
        ("contrast", 1),
        ("contrast", 5),
    ]
    assert of_digits[2].config.output.path == "runs/suite/digits/jpeg-5/digits/anytime"
    assert all(run.config.data.corruption is None for run in runs if run.cell.dataset == "scenes")


def test_a_study_runs_each_template_and_all_together():
    templates = ["a {}.", "one {}, drawn by hand."]
    runs = cell_runs(suite_of(templates=templates, models={"digits": {"datasets": ["digits"]}}))
    asked = [run.config.prompts.templates for run in runs if run.cell.method == "anytime"]
    assert asked == [["a {}."], ["one {}, drawn by hand."], templates]
    assert [run.cell.together for run in runs[:3]] == [False, False, True]
    assert len({run.config.output.path for run in runs}) == 6


def test_templates_that_look_alike_do_not_share_a_folder():
    templates = ["a photo of a {}.", "a photo of a {}!"]
    runs = cell_runs(suite_of(templates=templates, models={"digits": {"datasets": ["digits"]}}))
    assert len({run.config.output.path for run in runs}) == len(runs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": {"a": {"datasets": ["mnits"]}}}, "names 'mnits', which is none of digits"),
        ({"models": {"a/b": {}}}, "models"),
        ({"corruptions": {"of": ["digits"], "kinds": ["jpeg"], "strengths": [6]}}, "less than"),
        ({"models": {"a": {"model": {"famly": "dit"}}}}, "did you mean 'family'"),
        ({"models": {"a": {"datasets": []}}}, "leaves every data set out"),
        (
            {"datasets": {"digits": {"data": {"task": "shape"}, "tasks": "all"}}},
            "leave one of them out",
        ),
        ({"robustness": {"id": "digits", "ood": ["scenes"], "baselines": ["x", "y"]}}, "'x'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(changes, message):
    with pytest.raises(UserError, match=message):
        cell_runs(suite_of(**changes))


def test_all_tasks_are_those_of_the_paper():
    datasets = {"scenes": {"data": {"source": "two-objects"}, "tasks": "all"}}
    suite = suite_of(datasets=datasets, models={"digits": {}}, methods={"anytime": {}})
    assert len(cell_runs(suite)) == 20


@pytest.mark.parametrize(
    "path", sorted(Path("configs/suites").glob("*.yaml")), ids=lambda p: p.stem
)
def test_the_suites_of_the_project_are_suites(path):
    runs = cell_runs(load_config(SuiteConfig, path))
    assert len({run.config.output.path for run in runs}) == len(runs) > 1
