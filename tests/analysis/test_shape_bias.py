"""Shape bias of runs and of recorded decisions, against counts by hand and the published files."""

import pytest

from tests.analysis.made_up_runs import write_run
from tests.data.conftest import SHARED
from zsd_ray.records.errors import UserError
from zsd_ray.stats.intervals import wilson
from zsd_ray.studies.cue_conflict.shape_bias_counts import CueDecisions
from zsd_ray.studies.cue_conflict.shape_bias_of_run import cue_conflict

CLASSES = ["bear", "cat", "oven"]
BEAR, CAT, OVEN = range(3)

# Image, its shape's label, prediction.
ROWS = [
    ("bear/bear1-cat2.png", BEAR, BEAR, 9),
    ("bear/bear2-oven1.png", BEAR, OVEN, 9),
    ("bear/bear3-bear1.png", BEAR, BEAR, 9),  # no conflict
    ("cat/cat1-oven1.png", CAT, CAT, 9),
    ("cat/cat2-bear1.png", CAT, OVEN, 9),  # neither
    ("cat/cat3-bear1.png", CAT, None, 0),  # could not be read
    ("oven/oven1-cat1.png", OVEN, OVEN, 9),
]


def recorded(folder, subject, *rows):
    """Rows of (image, answer)."""
    path = folder / f"cue-conflict_{subject}_session_1.csv"
    lines = ["object_response,category,imagename"]
    for image, answer in rows:
        shape = image.partition("-")[0].rstrip("0123456789")
        lines.append(f"{answer},{shape},0001_s_{image}.png")
    path.write_text("\n".join(lines))
    return str(path)


def test_a_run_by_hand(tmp_path):
    found = cue_conflict(write_run(tmp_path / "run", ROWS, CLASSES, n_images=9))
    assert (found.n_images, found.n_errors, found.n_open) == (9, 1, 2)
    (own,) = found.observers
    assert own.name == "run"
    assert own.n_people is None
    assert own.bias.overall == CueDecisions.of(5, 3, 1)
    assert own.bias.of_class == {
        "bear": CueDecisions.of(2, 1, 1),
        "cat": CueDecisions.of(2, 1, 0),
        "oven": CueDecisions.of(1, 1, 0),
    }


def test_people_are_pooled_and_networks_are_not(tmp_path):
    run = write_run(tmp_path / "run", ROWS, CLASSES)
    files = [
        recorded(tmp_path, "vgg", ("bear1-cat1", "cat"), ("cat1-bear1", "cat")),
        recorded(tmp_path, "subject-02", ("bear1-cat1", "bear"), ("cat1-bear1", "na")),
        recorded(tmp_path, "subject-01", ("bear1-cat1", "cat"), ("cat1-bear1", "cat")),
        recorded(tmp_path, "subject-03", ("bear1-cat1", "na")),
        recorded(tmp_path, "alexnet", ("bear1-cat1", "cat")),
    ]
    _, people, *networks = cue_conflict(run, files).observers
    assert (people.name, people.n_people) == ("people", 3)
    assert people.bias.overall == CueDecisions.of(5, 2, 1)
    assert people.each_person == (0.5, 1.0)  # the third decided for no cue
    assert [(each.name, each.n_people) for each in networks] == [("alexnet", None), ("vgg", None)]
    assert networks[1].bias.overall.shape_bias.value == 0.5


def test_a_class_is_known_by_the_shape_of_its_images(tmp_path):
    renamed = ["a brown bear", "a house cat", "oven"]
    found = cue_conflict(write_run(tmp_path / "run", ROWS, renamed))
    assert found.observers[0].bias.overall == CueDecisions.of(5, 3, 1)


@pytest.mark.parametrize(
    ("rows", "classes", "words"),
    [
        ([("digits/0001", 0, 0, 1)], ["a", "b"], "no run on cue-conflict images: .*its cues"),
        ([("bear/bear1-cat1.png", BEAR, None, 0)], CLASSES, "has decided no image"),
        (
            [("bear1-cat1.png", BEAR, BEAR, 1), ("cat1-bear1.png", BEAR, CAT, 1)],
            CLASSES,
            "shapes 'bear' and 'cat' in one class",
        ),
        ([("bear1-dog1.png", BEAR, BEAR, 1)], CLASSES, "a cue 'dog', but no class of that name"),
        ([("bear1-cat1.png", BEAR, 1, 1)], ["bear", "house cat"], "a cue 'cat', but no class"),
    ],
)
def test_other_runs_are_refused_in_one_line(tmp_path, rows, classes, words):
    path = write_run(tmp_path / "run", rows, classes)
    with pytest.raises(UserError, match=words) as caught:
        cue_conflict(path)
    assert "\n" not in str(caught.value)


def test_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="there is no run at"):
        cue_conflict(str(tmp_path / "nothing"))


def test_the_recorded_decisions_have_the_published_bias(tmp_path):
    """Geirhos et al. 2019, figure 4: people decide by shape, a ResNet-50 by texture."""
    if not SHARED.is_dir():
        pytest.skip(f"no recorded decisions here: {SHARED} is absent")
    run = write_run(tmp_path / "run", ROWS, CLASSES)
    _, people, network = cue_conflict(run, [f"{SHARED}/cue-conflict/decisions/*.csv"]).observers
    assert (people.name, people.n_people, network.name) == ("people", 10, "resnet50")
    assert (people.bias.overall.n, network.bias.overall.n) == (12_000, 1_200)
    assert round(people.bias.overall.shape_bias.value, 3) == 0.959
    assert round(network.bias.overall.shape_bias.value, 3) == 0.221
    assert (network.bias.overall.shape, network.bias.overall.texture) == (162, 572)
    assert network.bias.overall.shape_bias.low == wilson(162, 734).low
    assert len(people.each_person) == 10
    assert people.each_person[0] == pytest.approx(0.919, abs=5e-4)
    assert people.each_person[-1] == pytest.approx(0.987, abs=5e-4)
    for observer in (people, network):
        assert len(observer.bias.of_class) == 16
        assert {each.n for each in observer.bias.of_class.values()} == {
            75 * (observer.n_people or 1)
        }
