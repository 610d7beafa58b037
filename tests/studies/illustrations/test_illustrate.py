"""Which images and classes are shown, and what is left out for models that cannot show it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tests.support.images import write_folder
from tests.support.tiny_models.custom import custom
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.models.registry import resolve_model
from zsd_ray.records.errors import UserError
from zsd_ray.results.rows.schema import DECISIONS
from zsd_ray.storage.store import Store
from zsd_ray.studies.illustrations.illustrating import COLUMNS, SETTINGS, Chosen, choose, illustrate

FEW = replace(SETTINGS, steps=3, levels=[0.3, 0.6], level_steps=2, noises=2, orders=2)
NAMES = ["cat", "dog", "owl"]


def row(image_id, label, prediction, means=(1.0, 2.0, 3.0), draws=(5, 5, 5)):
    return {
        "image_id": image_id,
        "source": f"/data/{image_id}",
        "label": label,
        "prediction": prediction,
        "mean_scores": list(means),
        "draws_per_class": list(draws),
    }


def table(*rows):
    return pa.Table.from_pylist(list(rows), schema=pa.schema([DECISIONS.field(c) for c in COLUMNS]))


def test_right_and_wrong_ones_come_in_turn():
    right = [row(f"right {i}", 1, 1) for i in range(5)]
    wrong = [row(f"wrong {i}", 0, 1) for i in range(2)]
    failed = [row("failed", 0, None, (), ())]
    found = [each.image_id.split()[0] for each in choose(table(*right, *failed, *wrong), 20)]
    assert found == ["right", "wrong", "right", "wrong", "right", "right", "right"]
    two = choose(table(*right, *wrong), 2)
    assert [each.label == each.prediction for each in two] == [True, False]
    # Whatever the order of rows, and however many are asked for.
    assert choose(table(*wrong[::-1], *right[::-1]), 2) == two
    assert choose(table(*right, *wrong), 3)[:2] == two


def test_images_without_a_label_are_shown_too():
    (one,) = choose(table(row("a", None, 2)), 2)
    assert one == Chosen("a", "/data/a", None, 2, (2, 0, 1))
    assert choose(table(row("a", None, None, (), ())), 2) == []


def test_classes_are_the_truth_the_prediction_and_the_next_in_the_ranking():
    means = [9.0, 1.0, 3.0, 2.0, float("nan"), 8.0, 7.0, 6.0]
    draws = [9, 9, 9, 9, 0, 50, 50, 9]
    (one,) = choose(table(row("a", 0, 6, means, draws)), 1)
    # 5 lasted longer than those of lesser means; 4 had no draw at all.
    assert one.classes == (0, 6, 5, 1, 3, 2)
    (one,) = choose(table(row("a", 6, 6, means, draws)), 1)
    assert one.classes == (6, 5, 1, 3, 2, 7)


@pytest.fixture
def data(tmp_path):
    return write_folder(tmp_path / "data", n_each=1, classes=NAMES)


def configure(data, model, **sections):
    tree = {
        "model": model,
        "data": {"source": "folder", "path": str(data)},
        "prompts": {"classes": NAMES, "templates": ["a {}."]},
        "method": {"weighting": "heuristic"},
        "seed": 4,
    }
    return parse_config(RunConfig, {**tree, **sections})


def illustrated(config, names, images, settings, run, *on_part):
    model = resolve_model(config.model)
    return illustrate(config, model, names, images, settings, run, Store(), *on_part)


def chosen(*ids):
    return [Chosen(each, each, 0, 1, (0, 1, 2)) for each in ids]


def test_everything_of_a_model_that_can(data, tiny_model):
    parts = []
    config = configure(data, {"path": str(tiny_model)})
    images = chosen("cat/0.png", "dog/0.png")
    found = illustrated(
        config,
        NAMES,
        images,
        FEW,
        "run",
        lambda *part: parts.append(part),
    )
    assert (found.left_out, found.seed, found.run) == ([], 4, "run")
    for image in found.images:
        assert image.names == tuple(NAMES)
        assert image.picture.shape == (16, 16, 3)
        assert image.exchanged.shape == (3, 3, 16, 16, 3)
        assert image.differences.shape == (3, 3)
        assert image.distances.shape == (3, 2, 2)
        assert image.attention.shape[0] == 3
        assert np.isfinite(image.attention).all()
    (pair,) = found.pairs
    assert (pair.first, pair.last, pair.names) == (0, 1, ("cat",))
    assert pair.pictures.shape == (1, 7, 16, 16, 3)
    assert parts == [(n, 7) for n in range(1, 8)]
    # The same numbers, whatever else is shown.
    (alone,) = illustrated(config, NAMES, images[1:], FEW, "run").images
    for name in ("picture", "exchanged", "differences", "distances", "attention"):
        assert np.array_equal(getattr(alone, name), getattr(found.images[1], name)), name
    # And each class is told by its own prompt.
    some = replace(images[0], classes=(2, 0))
    (two,) = illustrated(config, NAMES, [some], FEW, "run").images
    assert two.names == ("owl", "cat")
    assert np.array_equal(two.differences, found.images[0].differences[np.ix_([2, 0], [2, 0])])
    assert len(np.unique(found.images[0].differences)) == 9


def test_what_a_model_cannot_is_left_out_with_the_ability_that_it_lacks(data, tmp_path):
    _, model = custom(tmp_path / "model", "Encoding")
    config = configure(data, {"family": "custom", **model})
    found = illustrated(config, NAMES, chosen("cat/0.png"), FEW, "run")
    (image,) = found.images
    assert (image.exchanged, image.differences, image.attention) == (None, None, None)
    assert image.distances.min() > 0
    assert found.pairs == []
    decode, attention, one = found.left_out
    assert decode.endswith("models of family custom lack the ability decode")
    assert attention.endswith("models of family custom lack the ability prompts, attention, tokens")
    assert one == "the arc between two images: there is one image"


@pytest.mark.full
def test_names_that_no_prompt_holds_leave_attention_out(data, tiny_model):
    config = configure(data, {"path": str(tiny_model)})
    long = ["cat cat cat cat", "dog dog dog dog", "cat dog cat dog"]
    found = illustrated(config, long, chosen("cat/0.png", "dog/0.png"), FEW, "run")
    (line,) = found.left_out  # once, not for each image
    assert line.startswith("attention: ")
    assert found.images[0].attention is None
    assert found.images[0].exchanged is not None


def test_what_is_not_there_is_refused(data, tiny_model):
    config = configure(data, {"path": str(tiny_model)})
    with pytest.raises(UserError, match="no longer hold image gone"):
        illustrated(config, NAMES, chosen("gone"), FEW, "run")
    (data / "cat" / "0.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"image cat/0\.png cannot be read any more"):
        illustrated(config, NAMES, chosen("cat/0.png"), FEW, "run")
    clip = configure(data, {"family": "clip", "path": "ViT-B-32"}, method={"name": "classifier"})
    with pytest.raises(UserError, match="denoises nothing"):
        illustrate(clip, None, NAMES, chosen("cat/0.png"), FEW, "run", Store())
