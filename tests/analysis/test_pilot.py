"""A run with a pilot of its own, on the built-in model and a few digits."""

import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from tests.support.digit_runs import PAPER, configure, numbers
from zsd_ray.analysis import pilot
from zsd_ray.analysis.pilot import pilot_config
from zsd_ray.analysis.saved_run import open_run
from zsd_ray.analysis.weighting_fit import standardised_profile
from zsd_ray.api import check_model, run
from zsd_ray.diffusion.draws import times
from zsd_ray.diffusion.time_density import bucket_of
from zsd_ray.engine.plan import make_plan
from zsd_ray.reports.summary import summary_table
from zsd_ray.results.profile_file import read_profile, write_profile
from zsd_ray.spec.errors import UserError

METHOD = {
    "weighting": "standardised",
    "timesteps": "importance",
    "pilot": {"images": 3, "draws": 10},
}
PRUNING = {"rule": "clark-jaini", "min_scores": 6, "max_scores": 20, "p_value": 0.01}


def small(path, limit=5, method=METHOD, **sections):
    return configure(path, data={"limit": limit}, method=method, pruning=PRUNING, **sections)


@pytest.fixture(scope="module")
def piloted(tmp_path_factory):
    """Do not change it."""
    path = tmp_path_factory.mktemp("piloted") / "run"
    output = {"path": str(path), "raw_scores": True}
    return path, run(small(path, output=output), local=True)


def test_the_pilot_scores_the_first_images_for_all_classes(piloted):
    path, result = piloted
    rows = pq.read_table(path / "pilot" / "decisions").to_pylist()
    assert len(rows) == 3
    assert {row["image_id"] for row in rows} < set(result.table["image_id"].to_pylist())
    assert {draws for row in rows for draws in row["draws_per_class"]} == {10}
    config = json.loads((path / "pilot" / "run.json").read_text())["config"]
    assert config["method"]["weighting"] == "simple"
    assert config["method"]["timesteps"] == "stratified"


def test_its_profile_is_kept_and_weights_the_run(piloted):
    path, result = piloted
    profile = read_profile(str(path / "profile.json"))
    assert profile == standardised_profile(open_run(str(path / "pilot")))
    saved = json.loads((path / "run.json").read_text())["config"]["method"]
    assert saved["fitted"] == json.loads((path / "profile.json").read_text())
    low, high = saved["t_range"]
    assert (low, high) == profile.informative
    for row in pq.read_table(path / "scores").to_pylist():
        assert low - 1e-3 <= row["t"] <= high + 1e-3  # to the nearest step of the model
        sd = profile.sd[bucket_of(profile.edges, np.asarray([row["t"]]))[0]]
        # Where weights are 1 / sd, times are uniform, up to the steps at the edges of buckets.
        assert row["weight"] * sd == pytest.approx(1, rel=0.2)
    assert result.metrics["accuracy"] > 0.5


def test_its_images_are_scored_like_the_rest_with_draws_of_their_own(piloted):
    path, _ = piloted
    first = {row["image_id"]: row for row in pq.read_table(path / "scores").to_pylist()}
    others = pq.read_table(path / "pilot" / "scores").to_pylist()
    assert {row["image_id"] for row in others} < first.keys()
    seed = json.loads((path / "pilot" / "run.json").read_text())["config"]["seed"]
    assert seed != 0
    for row in others:
        t = times(seed, row["image_id"], range(row["draw"], row["draw"] + 1), "stratified")
        assert row["t"] == pytest.approx(0.02 + 0.96 * t[0], abs=1e-3)
        assert row["t"] != first[row["image_id"]]["t"]


def test_what_the_pilot_took_is_counted_apart(piloted):
    path, result = piloted
    assert result.metrics["pilot_evaluations"] == 3 * 10 * 10
    decided = pq.read_table(path / "decisions").to_pylist()
    assert result.metrics["n_evaluations"] == sum(row["n_evaluations"] for row in decided)
    console = Console(file=io.StringIO(), width=120)
    console.print(summary_table(result.run))
    assert "300 evaluations more, for weights or times" in console.file.getvalue()


def test_a_resumed_run_takes_the_saved_profile(piloted, tmp_path, monkeypatch):
    """Of two images, and then of five: as if of five at once."""
    _, whole = piloted
    path = tmp_path / "run"
    run(small(path, limit=3), local=True)
    monkeypatch.setattr(pilot, "standardised_profile", None)  # is not asked again
    result = run(small(path, limit=5), local=True)
    assert result.metrics["pilot_evaluations"] == 300
    assert numbers(result.table) == numbers(whole.table)
    assert result.run.identity == whole.run.identity


def test_a_pilot_that_was_interrupted_goes_on(piloted, tmp_path):
    _, whole = piloted
    path = tmp_path / "run"
    half = pilot_config(small(path))
    run(half.model_copy(update={"data": half.data.model_copy(update={"limit": 1})}), local=True)
    before = pq.read_table(path / "pilot" / "decisions").to_pylist()
    result = run(small(path), local=True)
    assert numbers(result.table) == numbers(whole.table)
    rows = pq.read_table(path / "pilot" / "decisions").to_pylist()
    assert [row for row in rows if row["image_id"] == before[0]["image_id"]] == before


def test_a_cluster_measures_and_decides_as_one_process_does(piloted, tmp_path, local_ray):
    path, whole = piloted
    result = run(small(tmp_path / "run", cluster={"address": "auto"}))
    assert numbers(result.table) == numbers(whole.table)
    found = read_profile(str(tmp_path / "run" / "profile.json"))
    assert found.sd == read_profile(str(path / "profile.json")).sd


def test_a_file_gives_the_same_numbers_without_a_pilot(piloted, tmp_path):
    path, whole = piloted
    method = {**METHOD, "profile": str(path / "profile.json")}
    result = run(small(tmp_path / "run", method=method), local=True)
    assert numbers(result.table) == numbers(whole.table)
    assert not (tmp_path / "run" / "pilot").exists()
    assert "pilot_evaluations" not in result.metrics
    assert result.run.identity != whole.run.identity
    # The file is not needed any more.
    config = json.loads((tmp_path / "run" / "run.json").read_text())["config"]
    assert config["method"]["profile"] is None
    assert config["method"]["fitted"] is not None


def test_another_pilot_is_another_run(piloted):
    path, _ = piloted
    method = {**METHOD, "pilot": {"images": 2, "draws": 10}}
    with pytest.raises(UserError, match=r"method\.pilot\.images was 3, now 2"):
        run(small(path, method=method), local=True)


def test_a_plan_says_what_the_pilot_will_take_and_nothing_once_it_is_done(piloted, tmp_path):
    path, _ = piloted
    assert make_plan(small(tmp_path / "run")).bounds.pilot == 3 * 10 * 10
    assert make_plan(small(tmp_path / "run", limit=2)).bounds.pilot == 2 * 10 * 10
    assert make_plan(small(path, limit=7)).bounds.pilot == 0
    assert make_plan(small(tmp_path / "run", method=PAPER)).bounds.pilot == 0


def test_a_run_of_fewer_images_has_a_pilot_of_these(tmp_path):
    assert pilot_config(small(tmp_path, limit=2)).data.limit == 2
    assert pilot_config(small(tmp_path, limit=None)).data.limit == 3


def test_a_model_is_checked_without_a_pilot(tmp_path):
    found = check_model(small(tmp_path / "run"), 1)
    assert found.agreement == 1
    assert not (tmp_path / "run").exists()


def test_what_a_pilot_left_that_began_another_run_is_refused(tmp_path):
    """The run was interrupted between its profile and a record of its own."""
    path = tmp_path / "run"
    run(pilot_config(small(path)), local=True)
    profile = standardised_profile(open_run(str(path / "pilot")))
    write_profile(str(path / "profile.json"), profile)
    with pytest.raises(UserError, match=r"pilot belongs to another run .*method\.loss"):
        run(small(path, method={**METHOD, "loss": "l1"}), local=True)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"loss": "l1"}, "of loss l2, and loss is l1"),
        ({"weighting": "learned"}, "holds no learned weights"),
        ({"t_range": [0.0, 0.5]}, r"covers t in \[0.02, 0.98\]"),
        ({"profile": "absent.json"}, "there is no file absent.json"),
    ],
)
def test_a_profile_that_does_not_fit_is_refused_before_anything_starts(
    piloted, tmp_path, keys, words
):
    method = {**METHOD, "profile": str(piloted[0] / "profile.json"), **keys}
    with pytest.raises(UserError, match=words):
        run(small(tmp_path / "run", method=method), local=True)
    assert not (tmp_path / "run").exists()
