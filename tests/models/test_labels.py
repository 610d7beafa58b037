"""Which label of a class-conditional model a class name means."""

import pytest

from tests.support.models import check_prompts, encode_prompts
from tests.support.tiny_models import ddpm, dit
from zsd_ray.config.run import ModelConfig
from zsd_ray.models.conditioning.labels import match
from zsd_ray.records.errors import UserError

IMAGENET = {
    0: "tench, Tinca tinca",
    134: "crane",
    264: "Cardigan, Cardigan Welsh corgi",
    474: "cardigan",
    517: "crane",
    638: "maillot",
    639: "maillot, tank suit",
}


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("tench, Tinca tinca", 0),
        ("Tench", 0),
        (" tinca tinca ", 0),
        ("517", 517),
        ("Cardigan", 264),
        ("cardigan", 474),
        ("cardigan welsh corgi", 264),
        ("maillot", 638),
        ("tank suit", 639),
        ("maillot, Tank suit", 639),
        ("999", 999),
    ],
)
def test_a_name_means_the_label_that_it_is_closest_to(name, number):
    assert match(IMAGENET, 1000, [name]).tolist() == [number]


def test_a_name_may_come_twice_and_labels_keep_the_order_of_names():
    numbers = match(IMAGENET, 1000, ["maillot", "tench", "maillot"])
    assert numbers.tolist() == [638, 0, 638]
    assert numbers.dtype == "int64"


def refused(names, texts=IMAGENET, n_labels=1000):
    with pytest.raises(UserError) as caught:
        match(texts, n_labels, names)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_means_no_label_several_or_the_same_is_refused_in_one_line():
    assert refused(["tench", "a photo of a tench."]) == (
        "this model has 1000 labels, and none for a photo of a tench.: name its labels (or their "
        "numbers, or set model.labels) in prompts.classes; prompts.templates is ['{}']"
    )
    assert "none for 1000, -1, 1.5" in refused(["1000", "-1", "1.5"])
    assert "crane may be the labels 134 and 517 of this model: give the number" in refused(
        ["crane"]
    )
    assert "tench and 0 are the same label 0" in refused(["tench", "0"])
    assert "x may be the labels 0 and 1" in refused(["x"], {0: "x", 1: "x"}, 2)


def test_a_label_that_is_called_by_a_number_comes_before_the_number():
    assert match({0: "1", 1: "0"}, 2, ["0", "1"]).tolist() == [1, 0]


def test_labels_of_the_configuration_come_before_those_of_the_pipeline(tmp_path):
    dit(tmp_path / "dit")
    config = ModelConfig(family="dit", path=str(tmp_path / "dit"), labels=["a", "b", "c", "d"])
    assert encode_prompts(config, ["d", "2"])["labels"].tolist() == [3, 2]
    with pytest.raises(UserError, match="none for goldfish"):
        check_prompts(config, ["goldfish"])
    many = config.model_copy(update={"labels": list("abcde")})
    with pytest.raises(UserError, match=r"model\.labels has 5 names for 4 labels"):
        check_prompts(many, ["a"])


def unet(tmp_path, labels=None, **keys):
    ddpm(tmp_path / "ddpm", **keys)
    return ModelConfig(family="ddpm", path=str(tmp_path / "ddpm"), device="cpu", labels=labels)


def test_an_unconditional_model_is_refused_for_its_lack_of_labels(tmp_path):
    config = unet(tmp_path, num_class_embeds=None)
    with pytest.raises(UserError, match="an unconditional model: it has no labels to tell") as seen:
        check_prompts(config, ["0", "1"])
    assert "\n" not in str(seen.value)


def test_a_model_without_names_is_told_numbers(tmp_path):
    config = unet(tmp_path)
    assert encode_prompts(config, ["2", "0"])["labels"].tolist() == [2, 0]
    with pytest.raises(UserError, match="has 3 labels, and none for zero, 3"):
        check_prompts(config, ["zero", "3"])


def test_a_model_that_embeds_any_number_must_be_told_its_labels(tmp_path):
    config = unet(tmp_path, class_embed_type="timestep")
    with pytest.raises(UserError, match=r"set model\.labels"):
        check_prompts(config, ["0"])
    named = config.model_copy(update={"labels": ["zero", "one"]})
    assert encode_prompts(named, ["one", "zero"])["labels"].tolist() == [1, 0]


def test_a_model_that_takes_vectors_is_refused(tmp_path):
    with pytest.raises(UserError, match="takes vectors for classes"):
        check_prompts(unet(tmp_path, class_embed_type="identity"), ["0"])
