"""The tables and the page of a sweep, from made-up cells."""

import re

import pytest

from zsd_ray.config.data import CorruptionConfig
from zsd_ray.config.run import parse_config
from zsd_ray.studies.sweeps.suite_config import Cell, CellResult, SuiteConfig, SuiteRobustness
from zsd_ray.studies.sweeps.sweep_page import render_sweep, table_markdown
from zsd_ray.studies.sweeps.sweep_record import SweepRecord, table_csv
from zsd_ray.studies.sweeps.sweep_robustness import corrupted_rows, shifted_rows
from zsd_ray.studies.sweeps.sweep_tables import figures_of, main_table, tables


def result(model, dataset, correct, method="fixed", images=100, status="finished", **keys):
    cell_keys = {
        key: keys.pop(key) for key in ("task", "corruption", "template", "together") if key in keys
    }
    share = correct / images
    values = {
        "value": share,
        "low": max(0.0, share - 0.05),
        "high": min(1.0, share + 0.05),
        "correct": correct,
        "images": images,
        "chance": 0.1,
        "evaluations_per_image": 30.0,
        "seconds": 3.0,
    }
    cell = Cell(model, dataset, method, **cell_keys)
    return CellResult(cell, "runs/s/x", status, "accuracy", **{**values, **keys})


def suite_of(**changes):
    tree = {
        "title": "A <b>suite</b>",
        "models": {"a": {}, "b": {}, "c": {}},
        "datasets": {"one": {}, "two": {}},
        "output": {"path": "runs/s"},
    }
    return parse_config(SuiteConfig, {**tree, **changes})


def record_of(cells):
    return SweepRecord("A <b>suite</b>", "finished", {}, "2026-01-01", tuple(cells))


def test_rows_are_models_and_columns_data_sets():
    table = main_table([result("a", "one", 90), result("b", "one", 80), result("a", "two", 70)])
    assert table.header == ("model", "method", "one", "two")
    assert table.rows == (
        ("a", "fixed", "90.0 [85.0, 95.0] · 30", "70.0 [65.0, 75.0] · 30"),
        ("b", "fixed", "80.0 [75.0, 85.0] · 30", ""),
    )


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"metric": "mean-per-class"}, "90.0* [85.0, 95.0] · 30"),
        ({"status": "incomplete"}, "90.0 [85.0, 95.0] · 30 (not whole)"),
        ({"value": None, "status": "waiting"}, "-"),
        ({"value": None, "status": "refused"}, "refused"),
        ({"evaluations_per_image": 1234.0}, "90.0 [85.0, 95.0] · 1,234"),
        ({"evaluations_per_image": 74.52}, "90.0 [85.0, 95.0] · 74.5"),
    ],
)
def test_a_cell_in_one_line(keys, text):
    metric = keys.pop("metric", "accuracy")
    found = result("a", "one", 90, **keys)
    assert figures_of(CellResult(**{**vars(found), "metric": metric})) == text


def test_tasks_have_a_table_in_which_guessing_is_told_from_solving():
    cells = [
        result("a", "one", 50),
        result("a", "two", 90, task="shape|color", chance=0.5, p_chance=1e-9),
        result("a", "two", 55, task="color|shape", chance=0.5, p_chance=0.3),
    ]
    main, tasks = tables(cells, suite_of())
    assert main.header == ("model", "method", "one")
    assert tasks.rows == (
        ("shape|color (50%)", "90.0 [85.0, 95.0] · 30 †"),
        ("color|shape (50%)", "55.0 [50.0, 60.0] · 30"),
    )


def test_templates_are_columns_with_their_spread():
    cells = [
        result("a", "one", 90, template="a {}"),
        result("a", "one", 86, template="the {}"),
        result("a", "one", 93, together=True),
    ]
    study = next(table for table in tables(cells, suite_of()) if table.title == "Templates")
    assert study.header[3:] == ("a {}", "the {}", "all together", "spread")
    assert study.rows[0][-1] == "4.0 (sd 2.8)"
    assert main_table(cells).rows == (("a", "fixed", "93.0 [88.0, 98.0] · 30"),)


def test_damaged_pictures_make_curves_that_start_clean():
    jpeg = CorruptionConfig(kind="jpeg", strength=2)
    cells = [result("a", "one", 90), result("a", "one", 60, corruption=jpeg), result("a", "two", 9)]
    rows = corrupted_rows(cells)
    assert [(row.kind, row.strength, row.value) for row in rows] == [
        (None, 0, 0.9),
        ("jpeg", 2, 0.6),
    ]
    titles = [table.title for table in tables(cells, suite_of())]
    assert titles == ["Accuracy and cost", "Corruptions"]
    assert corrupted_rows([cells[0]]) == []


def test_effective_robustness_needs_two_baselines_on_both():
    asked = SuiteRobustness(id="one", ood=["two"], baselines=["b", "c"])
    cells = [
        *(result(model, "one", n) for model, n in (("a", 70), ("b", 80), ("c", 60))),
        *(result(model, "two", n) for model, n in (("a", 68), ("b", 60), ("c", 40))),
    ]
    rows = shifted_rows(cells, asked)
    assert [(row.name, row.id_correct, row.ood_correct, row.is_baseline) for row in rows] == [
        ("a, fixed", 70, 68, False),
        ("b, fixed", 80, 60, True),
        ("c, fixed", 60, 40, True),
    ]
    assert shifted_rows(cells[:-1], asked) == []
    assert shifted_rows(cells, None) == []
    suite = suite_of(robustness=asked.model_dump())
    table = next(t for t in tables(cells, suite) if t.title == "Effective robustness")
    assert table.rows[0][:2] == ("two", "a, fixed")


def test_what_is_not_whole_says_why():
    cells = [
        result("a", "one", 90),
        result("a", "two", 0, status="refused", value=None, reason="no such | folder"),
    ]
    last = tables(cells, suite_of())[-1]
    assert last.rows == (("a / two / fixed", "refused", "no such | folder"),)
    assert "no such \\| folder" in table_markdown(record_of(cells), suite_of())


def test_columns_of_markdown_align():
    text = table_markdown(record_of([result("a", "one", 90), result("bb", "one", 5)]), suite_of())
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1
    assert set(lines[1]) == set("| -")


def test_the_page_escapes_and_links(tmp_path):
    cells = [
        result("a", "one", 90),
        result("<i>b</i>", "one", 20, task="color|shape"),
        result("a", "two", 60, corruption=CorruptionConfig(kind="jpeg", strength=1)),
    ]
    cells = [CellResult(**{**vars(c), "path": f"runs/s/one/x {n}"}) for n, c in enumerate(cells)]
    page = render_sweep(record_of(cells), suite_of())
    assert "<i>b</i>" not in page
    assert "A &lt;b&gt;suite&lt;/b&gt;" in page
    assert 'href="one/x%200/report.html"' in page
    assert len(re.findall("<svg", page)) == 2


def test_a_sweep_of_nothing_yet_has_a_page():
    cells = [result("a", "one", 0, status="waiting", value=None, low=None, high=None)]
    page = render_sweep(record_of(cells), suite_of())
    assert "1 of 1 cells are not whole" in page
    assert "<svg" not in page


def test_csv_has_a_line_a_cell():
    jpeg = CorruptionConfig(kind="jpeg", strength=2)
    lines = table_csv([result("a", "one", 90, corruption=jpeg)]).splitlines()
    assert lines[0].startswith("model,dataset,task,method,template,corruption,strength,path,status")
    assert lines[1].startswith("a,one,,fixed,,jpeg,2,runs/s/x,finished,accuracy,0.9,")
