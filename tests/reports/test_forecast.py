from dataclasses import replace

from zsd_ray.diffusion.time_range import NoiseLevels
from zsd_ray.planning.estimate import Bounds, Estimate, Likely
from zsd_ray.reports.forecast_lines import bounds_rows, caveat, estimate_rows
from zsd_ray.reports.lines import amount

BOUNDS = Bounds(
    output="runs/x", n_listed=50_000, n_images=1000, n_done=100, n_todo=900, n_classes=1000,
    n_templates=1, n_prompts=1000, min_workers=1, max_workers=4, gpus_per_worker=1,
    least=20_000, most=2_000_000,
)  # fmt: skip
ESTIMATE = Estimate(
    n_pilot=25,
    evaluations_per_image=Likely(25_000.5, 24_000, 26_000),
    evaluations=Likely(22_500_450, 21_600_000, 23_400_000),
    seconds_per_evaluation=0.0123,
    worker_hours=Likely(76.876, 73.8, 79.95),
    gpu_hours=Likely(76.876, 73.8, 79.95),
    hours=Likely(1.5, 1, 2),
    cost=Likely(1234.5, 1000, 1500),
)
PILOT = {"accuracy": 0.8, "accuracy_low": 0.6, "accuracy_high": 0.91}


def test_what_is_known_without_trying():
    rows = dict(bounds_rows(BOUNDS))
    assert rows["images"] == "1,000 of 50,000 in the data: 100 done, 900 to do"
    assert rows["classes"] == "1,000 with 1 template: 1,000 prompts"
    assert rows["workers"] == "1 to 4, with 1 GPU each"
    assert rows["evaluations per image"] == "at least 20,000, at most 2,000,000"
    assert rows["evaluations in all"] == "at least 18,000,000, at most 1,800,000,000"


def test_a_rule_that_leaves_no_choice_has_one_figure():
    rows = dict(
        bounds_rows(replace(BOUNDS, most=20_000, min_workers=4, n_templates=3, gpus_per_worker=0))
    )
    assert rows["evaluations per image"] == "20,000"
    assert rows["workers"] == "4, on CPUs"
    assert "3 templates" in rows["classes"]


def test_what_a_pilot_says():
    rows = dict(estimate_rows(BOUNDS, ESTIMATE, PILOT))
    assert rows == {
        "evaluations per image": "25,000.5  [24,000.0, 26,000.0]",
        "evaluations in all": "22,500,450  [21,600,000, 23,400,000]",
        "seconds an evaluation": "0.0123 of one worker",
        "worker hours": "76.9  [73.8, 80.0]",
        "GPU hours": "76.9  [73.8, 80.0]",
        "duration, 4 workers": "1:30:00  [1:00:00, 2:00:00]",
        "cost": "$1,234.50  [$1,000.00, $1,500.00]",
        "pilot's accuracy": "80.0%  [60.0%, 91.0%]",
    }


def test_what_is_not_known_is_not_shown():
    rows = dict(
        estimate_rows(BOUNDS, replace(ESTIMATE, gpu_hours=None, cost=None), {"accuracy": None})
    )
    assert not {"GPU hours", "cost", "pilot's accuracy"} & rows.keys()


def test_it_says_that_it_is_an_estimate():
    assert "An estimate from 25 images" in caveat(ESTIMATE, local=False)
    assert "the cluster's workers" in caveat(ESTIMATE, local=False)
    assert "this machine" in caveat(ESTIMATE, local=True)


def test_amounts_keep_three_digits():
    amounts = [amount(value) for value in (0, 0.0001234, 1.234, 45.67, 99.9, 1234.5)]
    assert amounts == ["0", "0.000123", "1.23", "45.7", "99.9", "1,234"]


def test_a_model_of_the_users_own_says_what_its_identity_has():
    lines = ("m.py", "not w.pth: model.kwargs.w w is no whole name of a file")
    rows = bounds_rows(replace(BOUNDS, hashed=lines))
    assert rows[-2:] == [("identity has", lines[0]), ("", lines[1])]


def test_where_the_draws_lie_is_said_in_both_measures():
    levels = NoiseLevels((0.1834, 0.9091), (0.05, 10.0))
    rows = dict(bounds_rows(BOUNDS, levels))
    assert rows["noise levels"] == "t from 0.183 to 0.909, signal-to-noise ratio 0.05 to 10"
    unbounded = NoiseLevels((0.0, 1.0), (0.0, None))
    assert dict(bounds_rows(BOUNDS, unbounded))["noise levels"].endswith("ratio 0 and above")
    assert "noise levels" not in dict(bounds_rows(BOUNDS))
