"""Runs whose images go on with a few classes: after another run, and down a tree of groups."""

import json
import math
from pathlib import Path
from statistics import mean

import pyarrow.parquet as pq
import pytest
import yaml

import zsd_ray
from tests.support import digit_runs, replay
from tests.support.images import write_folder
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.evaluation.forecast import forecast
from zsd_ray.planning.make_plan import make_plan
from zsd_ray.results.output import Output

LIMIT = 20
RULE = {"rule": "clark-jaini", "min_scores": 12, "max_scores": 60, "p_value": 0.01}
TREE = {
    "round": {"closed": ["zero", "eight"], "half": ["six", "nine", "three"]},
    "straight": ["one", "four", "seven"],
    "curved": ["two", "five"],
}


def configure(path, limit=LIMIT, **sections):
    sections = {**digit_runs.MEANS, "pruning": RULE, **sections}
    return digit_runs.configure(path, data={"limit": limit}, **sections)


def after(path, few, limit=LIMIT, audit=0.0, **sections):
    screen = {"run": few.output, "top": 3, "audit": audit}
    return configure(path, limit, screen=screen, **sections)


def numbers(table):
    """As text, so that nan is nan."""
    return {image_id: str(row) for image_id, row in digit_runs.numbers(table).items()}


def rows(output, *columns):
    """The rows of an output by image."""
    table = Output(str(output)).read_table("decisions").sort_by("image_id").to_pylist()
    return {row["image_id"]: {c: row[c] for c in columns} if columns else row for row in table}


def read_record(output):
    return json.loads(Path(output, "run.json").read_text())


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Every class with four draws."""
    config = configure(tmp_path_factory.mktemp("few"), pruning={"rule": "none", "draws": 4})
    return zsd_ray.run(config, local=True)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return zsd_ray.run(configure(tmp_path_factory.mktemp("full")), local=True)


@pytest.fixture(scope="module")
def screened(tmp_path_factory, few):
    output = {"path": str(tmp_path_factory.mktemp("screened") / "run"), "raw_scores": True}
    return zsd_ray.run(after(None, few, audit=0.3, output=output), local=True)


def test_the_best_of_an_earlier_run_go_on_and_nothing_else(few, screened):
    for image_id, row in rows(few.output).items():
        # Every class had four draws there, so its ranking is that of the means.
        best = sorted(range(10), key=lambda k: row["mean_scores"][k])[:3]
        found = rows(screened.output)[image_id]
        assert found["n_candidates"] == 3
        assert [k for k in range(10) if found["draws_per_class"][k]] == sorted(best)
        assert [k for k in range(10) if not math.isnan(found["mean_scores"][k])] == sorted(best)
        assert sorted(found["top5"]) == sorted(best)
        assert found["n_screen_evaluations"] == 40
        assert found["n_evaluations"] == sum(found["draws_per_class"])


def test_decisions_are_those_of_the_plain_rule_among_the_candidates(screened):
    by_image = {}
    for row in pq.read_table(f"{screened.output}/scores").to_pylist():
        by_image.setdefault(row["image_id"], []).append(row)
    for image_id, row in rows(screened.output).items():
        score = replay.from_rows(by_image[image_id])
        classes = [k for k in range(10) if row["draws_per_class"][k]]
        expected = replay.clark_jaini(
            lambda draw, k, score=score, of=classes: score(draw, of[k]), 3, 12, 60, 0.01
        )
        assert row["prediction"] == classes[expected.prediction]
        assert [row["draws_per_class"][k] for k in classes] == expected.draws_per_class


@pytest.mark.full
def test_a_screen_saves_evaluations_and_changes_few_predictions(screened, full):
    both = rows(screened.output, "prediction"), rows(full.output, "prediction")
    assert sum(both[0][image_id] == both[1][image_id] for image_id in both[0]) >= 0.9 * LIMIT
    table = rows(screened.output).values()
    paid = mean(row["n_evaluations"] + row["n_screen_evaluations"] for row in table)
    assert screened.metrics["evaluations_per_image"] == pytest.approx(paid)
    assert paid < 0.8 * full.metrics["evaluations_per_image"]


@pytest.mark.full
def test_the_audit_is_the_full_run_of_its_images(screened, full):
    columns = (*digit_runs.NUMBERS, "n_candidates")
    audit, whole = rows(f"{screened.output}/audit", *columns), rows(full.output, *columns)
    assert 1 <= len(audit) < LIMIT / 2
    assert audit == {image_id: whole[image_id] for image_id in audit}
    table = rows(screened.output)
    lost = [i for i in audit if not table[i]["draws_per_class"][audit[i]["prediction"]]]
    totals = screened.metrics
    assert (totals["audited"], totals["screen_lost"]) == (len(audit), len(lost))
    right = sum(table[i]["prediction"] == table[i]["label"] for i in audit)
    assert totals["audit_accuracy_screened"] == pytest.approx(right / len(audit))
    assert totals["audit_evaluations"] == sum(row["n_evaluations"] for row in audit.values())
    assert read_record(screened.output)["totals"]["screen_loss_high"] == totals["screen_loss_high"]
    page = Path(screened.output, "report.html").read_text()
    assert "lost by the screen" in page
    assert "40 of them by the screen" in page


@pytest.mark.full
def test_a_larger_audit_adds_images_to_the_run_that_is_there(screened, few):
    again = {"path": screened.output, "raw_scores": True}
    before = rows(f"{screened.output}/audit")
    result = zsd_ray.run(after(None, few, audit=0.5, output=again), local=True)
    found = rows(f"{screened.output}/audit")
    assert set(before) < set(found)
    assert all(str(found[image_id]) == str(row) for image_id, row in before.items())
    assert result.metrics["audited"] == len(found)
    assert numbers(result.table) == numbers(screened.table)


def test_ray_decides_as_the_local_run_does(local_ray, screened, few, tmp_path):
    result = zsd_ray.run(after(tmp_path, few, cluster={"workers": 2}))
    assert numbers(result.table) == numbers(screened.table)
    assert rows(tmp_path, "n_candidates") == rows(screened.output, "n_candidates")


class Interrupt:
    """Ctrl-C when so many images of a stage are decided, the `stage`-th of the run."""

    def __init__(self, stage, n_decided):
        self.left, self.n_decided, self.last = stage, n_decided, 0

    def __call__(self, progress):
        self.left -= progress.n_decided < self.last
        self.last = progress.n_decided
        if not self.left and progress.n_decided >= self.n_decided:
            raise KeyboardInterrupt


@pytest.mark.full
def test_an_interrupted_run_goes_on_with_its_candidates(screened, few, tmp_path):
    config = after(tmp_path, few)
    with pytest.raises(KeyboardInterrupt):
        zsd_ray.run(config, local=True, on_progress=Interrupt(0, 4))
    assert list((tmp_path / "checkpoints").iterdir())
    assert numbers(zsd_ray.run(config, local=True).table) == numbers(screened.table)


@pytest.mark.full
def test_an_audit_that_has_no_image_is_none(few, tmp_path):
    config = after(tmp_path, few, limit=2, audit=0.001)
    assert make_plan(config).bounds.n_audit == 0
    result = zsd_ray.run(config, local=True)
    assert (result.metrics["audited"], result.metrics["screen_loss"]) == (0, None)
    assert not (tmp_path / "audit").exists()


@pytest.mark.full
def test_a_run_is_extended_where_its_screen_reaches(screened, few, tmp_path):
    zsd_ray.run(after(tmp_path, few, limit=5), local=True)
    assert numbers(zsd_ray.run(after(tmp_path, few), local=True).table) == numbers(screened.table)


@pytest.mark.full
def test_the_screen_may_move_and_another_is_refused(screened, few, full, tmp_path):
    moved = tmp_path / "moved"
    moved.symlink_to(few.output)
    output = {"path": screened.output, "raw_scores": True}
    keys = {"top": 3, "audit": 0}
    config = configure(None, screen={"run": str(moved), **keys}, output=output)
    assert make_plan(config).todo.tolist() == []
    config = configure(None, screen={"run": full.output, **keys}, output=output)
    with pytest.raises(zsd_ray.UserError, match=r"belongs to another run .*screen\.run was"):
        make_plan(config)
    with pytest.raises(zsd_ray.UserError, match=r"screen\.run was .*, now null"):
        make_plan(configure(None, output=output))


def test_images_that_the_screen_lacks_are_refused_before_anything_starts(few, tmp_path):
    with pytest.raises(
        zsd_ray.UserError, match=r"has no row of 3 of this run's 23 images \(digits/.*limit"
    ):
        zsd_ray.run(after(tmp_path / "run", few, limit=LIMIT + 3), local=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.full
def test_another_models_evaluations_are_said_apart(few, tiny_model, tmp_path):
    model = {"path": str(tiny_model)}
    prompts = {"templates": ["a {}"]}  # that fits this model
    config = after(tmp_path, few, limit=3, model=model, prompts=prompts)
    totals = zsd_ray.run(config, local=True).metrics
    assert totals["other_model_evaluations_per_image"] == 40
    assert totals["n_screen_evaluations"] == 0
    assert totals["evaluations_per_image"] == totals["n_evaluations"] / 3


@pytest.fixture(scope="module")
def tree_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("tree") / "tree.yaml"
    path.write_text(yaml.safe_dump(TREE, sort_keys=False))
    return str(path)


def down(path, tree_file, limit=8, audit=0.0, **sections):
    rule = {"rule": "clark-jaini", "min_scores": 4, "max_scores": 10, "p_value": 0.01}
    screen = {"tree": tree_file, "top": 1, "audit": audit}
    return configure(path, limit, screen=screen, **{"pruning": rule, **sections})


@pytest.fixture(scope="module")
def descended(tmp_path_factory, tree_file):
    path = tmp_path_factory.mktemp("descended") / "run"
    return zsd_ray.run(down(path, tree_file, audit=0.3), local=True)


def test_a_tree_is_descended_level_by_level(descended):
    names = descended.run.classes
    coarse, fine, leaf = (
        rows(f"{descended.output}{folder}") for folder in ("/tree-1", "/tree-2", "")
    )
    assert len(coarse) == len(fine) == len(leaf) == 8
    levels = [["round", "straight", "curved"], ["closed", "half", "straight", "curved"]]
    fine_members = {"closed": TREE["round"]["closed"], "half": TREE["round"]["half"]} | {
        name: TREE[name] for name in ("straight", "curved")
    }
    for image_id, row in leaf.items():
        group = levels[0][coarse[image_id]["prediction"]]
        second = fine[image_id]
        below = ["closed", "half"] if group == "round" else [group]
        assert second["n_candidates"] == len(below)
        assert levels[1][second["prediction"]] in below
        drawn = [levels[1][k] for k in range(4) if second["draws_per_class"][k]]
        assert drawn == (below if len(below) > 1 else [])  # one group alone is not scored
        members = fine_members[levels[1][second["prediction"]]]
        assert {names[k] for k in range(10) if row["draws_per_class"][k]} == set(members)
        paid = coarse[image_id]["n_evaluations"] + second["n_evaluations"]
        assert row["n_screen_evaluations"] == paid
        assert row["n_candidates"] == len(members)
        name = names[row["label"]]
        assert name in fine_members[levels[1][second["label"]]]
        assert name in str(TREE[levels[0][coarse[image_id]["label"]]])


def test_the_record_tells_the_levels(descended):
    record = read_record(f"{descended.output}/tree-2")
    assert record["classes"] == ["closed", "half", "straight", "curved"]
    assert record["config"]["screen"]["run"] == f"{descended.output}/tree-1"
    assert record["identity_parts"]["screen"]["group_of"] == [0, 0, 1, 2]
    parts = descended.run.identity_parts["screen"]
    assert parts == {"tree": TREE, "top": 1}
    assert descended.metrics["audited"] == len(rows(f"{descended.output}/audit"))


def test_a_tree_on_ray_decides_as_the_local_run_does(local_ray, descended, tree_file, tmp_path):
    result = zsd_ray.run(down(tmp_path, tree_file, cluster={"workers": 1}))
    assert numbers(result.table) == numbers(descended.table)
    for level in ("tree-1", "tree-2"):
        found, expected = (rows(f"{r.output}/{level}", "mean_scores") for r in (result, descended))
        assert str(found) == str(expected)


@pytest.mark.few(1)
@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_descent_goes_on_where_it_was_interrupted(descended, tree_file, tmp_path, stage):
    config = down(tmp_path, tree_file)
    with pytest.raises(KeyboardInterrupt):
        zsd_ray.run(config, local=True, on_progress=Interrupt(stage, 3))
    reached = [
        name for name in ("tree-1", "tree-2", ".") if (tmp_path / name / "run.json").exists()
    ]
    assert len(reached) == stage + 1
    parts = {path.name for path in (tmp_path / "tree-1" / "decisions").iterdir()}
    assert numbers(zsd_ray.run(config, local=True).table) == numbers(descended.table)
    assert parts <= {path.name for path in (tmp_path / "tree-1" / "decisions").iterdir()}
    assert len(rows(tmp_path / "tree-1")) == 8


def test_a_tree_that_does_not_fit_is_refused_before_anything_starts(tmp_path, tree_file):
    config = down(tmp_path / "run", tree_file, prompts={"classes": list("abcdefghij")})
    with pytest.raises(zsd_ray.UserError, match=r"tree\.yaml lists 10 classes .* 10 of the run's"):
        zsd_ray.run(config, local=True)
    screen = {"tree": tree_file, "top": 3}
    with pytest.raises(zsd_ray.UserError, match=r"screen\.top 3 leaves all of the 3 groups"):
        zsd_ray.run(configure(tmp_path / "run", screen=screen), local=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.full
def test_an_image_that_no_level_can_read_is_a_row_with_its_error(tiny_model, tmp_path):
    data = write_folder(
        tmp_path / "data", n_each=3, classes=("ant", "bee", "cat"), bad=("bee/2.png",)
    )
    (tmp_path / "tree.yaml").write_text(yaml.safe_dump({"insect": ["ant", "bee"], "pet": ["cat"]}))
    tree = {
        "model": {"path": str(tiny_model)},
        "data": {"source": "folder", "path": str(data)},
        "pruning": {"rule": "none", "draws": 2},
        "screen": {"tree": str(tmp_path / "tree.yaml"), "top": 1, "audit": 1.0},
        "tracking": {"mlflow": "off"},
        "output": {"path": str(tmp_path / "run")},
    }
    result = zsd_ray.run(parse_config(RunConfig, tree), local=True)
    assert result.run.status == "incomplete"
    assert (result.run.n_done, result.run.n_images) == (8, 9)
    bad = rows(tmp_path / "run")["bee/2.png"]
    assert "bee/2.png" in bad["error"]
    assert bad["n_candidates"] is None
    assert result.metrics["audited"] == 8
    # Those whose group has one class had their decision with the group.
    alone = [row for row in rows(tmp_path / "run").values() if row["n_candidates"] == 1]
    assert all((row["n_evaluations"], row["prediction"]) == (0, 2) for row in alone)


def test_what_a_screened_run_takes_is_known_before(few, tree_file, tmp_path):
    bounds = forecast(after(tmp_path, few, audit=0.3)).bounds
    assert (bounds.least, bounds.most) == (3 * 12, 3 * 60)
    assert (bounds.audit_least, bounds.audit_most) == (10 * 12, 10 * 60)
    assert 1 <= bounds.n_audit < LIMIT / 2
    bounds = forecast(down(tmp_path, tree_file)).bounds
    # three groups; two of the round ones, or one that is not scored; two or three digits
    assert (bounds.least, bounds.most) == (4 * (3 + 0 + 2), 10 * (3 + 2 + 3))


@pytest.mark.full
def test_a_forecast_counts_the_levels_of_a_tree_and_no_audit(tree_file, tmp_path):
    config = down(tmp_path, tree_file, limit=12, audit=1.0)
    found = forecast(config, pilot=10, local=True)
    each = found.estimate.evaluations_per_image.value
    assert each == pytest.approx(found.pilot["evaluations_per_image"])
    assert found.pilot["n_screen_evaluations"] > 0
    assert "audited" not in found.pilot
