"""A classifier's scores arrive unchanged, once an image, however the work was cut."""

import numpy as np
import pytest
import torch

from tests.support.images import Pictures
from zsd_ray.config.classifier_method import ClassifierMethod
from zsd_ray.data.pictures.transforms import to_rgb
from zsd_ray.records.cost import RunSize
from zsd_ray.records.scores import ImageFailure, MicroBatch, WorkItem
from zsd_ray.scoring.make_scorer import bind_baseline
from zsd_ray.scoring.scorer import Scorer


class Brightness:
    """Scores an image for class k by its mean brightness times the mean of k's prompts."""

    device = torch.device("cpu")

    def __init__(self):
        self.shapes = []

    def preprocess(self, image):
        assert image.mode == "RGB"
        return torch.from_numpy(np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 255)

    def classes(self, conditioning, n_templates):
        return conditioning["number"].reshape(-1, n_templates).mean(dim=1)

    def scores(self, images, classes):
        self.shapes.append(tuple(images.shape))
        return images.mean(dim=(1, 2, 3))[:, None] * classes


NUMBERS = np.array([1, 3, 4, 6, 10, 12], dtype=np.float32)
MEANS = np.array([2, 5, 11], dtype=np.float32)
ITEMS = (
    WorkItem(0, 0, 1, (0, 1, 2)),
    WorkItem(2, 0, 1, (0, 1)),
    WorkItem(1, 0, 1, (0, 1, 2)),
    WorkItem(2, 0, 1, (2,)),
)


def make(dataset, classifier=None, n_images=2):
    classifier = classifier or Brightness()
    size = RunSize(n_classes=3, n_racing=3, n_templates=2)
    bound = bind_baseline(classifier, {"number": NUMBERS}, ["a", "b", "c"], size, n_images)
    return Scorer(bound, ClassifierMethod(), size, dataset)


def score(scorer, items=ITEMS):
    return list(scorer.score(MicroBatch(0, items)).unpack(items))


def brightness(dataset, image):
    return float(np.asarray(to_rgb(dataset.read(image)), dtype=np.float64).mean() / 255)


def test_every_item_gets_its_classes_scores():
    dataset = Pictures(3)
    for item, answer in zip(ITEMS, score(make(dataset)), strict=True):
        expected = brightness(dataset, item.image) * MEANS[list(item.classes)]
        np.testing.assert_allclose(answer.errors, expected[None], rtol=1e-5)
        np.testing.assert_array_equal(answer.draws.table, [[0, 1, 0, 1]])


def test_an_image_takes_one_forward_and_one_reading():
    dataset, classifier = Pictures(3), Brightness()
    scorer = make(dataset, classifier)
    answer = scorer.score(MicroBatch(0, ITEMS))
    assert [shape[0] for shape in classifier.shapes] == [2, 2]  # three images, and one to pad
    assert answer.n_rows == 4 * 3  # evaluations that there was room for
    assert scorer.batch_size == 2 * 3
    again = scorer.score(MicroBatch(1, ITEMS))
    assert (len(classifier.shapes), dataset.n_reads, again.n_rows) == (2, 3, 0)
    np.testing.assert_array_equal(again.errors, answer.errors)


def test_images_that_were_read_ahead_are_not_read_again():
    dataset = Pictures(3, bad=(1,))
    scorer = make(dataset)
    scorer.read_ahead(MicroBatch(0, ITEMS))
    assert dataset.n_reads == 3
    assert score(scorer)[2] == ImageFailure("picture 1 is truncated")
    assert dataset.n_reads == 4  # the bad one, to say what is wrong with it
    scorer.read_ahead(MicroBatch(1, ITEMS))
    assert dataset.n_reads == 5  # scores are kept, pictures are not


def test_a_bad_image_fails_alone():
    answers = score(make(Pictures(3, bad=(2,))))
    assert [isinstance(answer, ImageFailure) for answer in answers] == [False, True, False, True]
    away = score(make(Pictures(3, away=(2,))))
    assert away[3] == ImageFailure("picture 2: no answer", unreadable=True)


def test_scores_that_are_not_finite_fail_the_image():
    class Broken(Brightness):
        def scores(self, images, classes):
            return super().scores(images, classes) * float("nan")

    assert "not finite" in score(make(Pictures(3), Broken()))[0].message


@pytest.mark.parametrize("n_images", [1, 3, 8])
def test_numbers_do_not_depend_on_their_company(n_images):
    dataset = Pictures(3)
    for item, together in zip(ITEMS, score(make(dataset, n_images=n_images)), strict=True):
        (alone,) = score(make(dataset, n_images=n_images), (item,))
        np.testing.assert_array_equal(together.errors, alone.errors)


def test_only_the_scores_of_the_last_images_are_remembered(monkeypatch):
    monkeypatch.setattr("zsd_ray.methods.baseline._CACHE_BYTES", 2 * 4 * 3)
    classifier = Brightness()
    scorer = make(Pictures(3), classifier, n_images=1)
    first = score(scorer)
    assert len(classifier.shapes) == 3
    second = score(scorer)
    assert len(classifier.shapes) == 4
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.errors, other.errors)


def test_only_the_last_images_are_kept(monkeypatch):
    dataset = Pictures(3)
    sizes = [4 * np.asarray(to_rgb(dataset.read(image))).size for image in range(3)]
    monkeypatch.setattr("zsd_ray.scoring.samples._CACHE_BYTES", 2 * max(sizes))
    dataset.n_reads = 0
    scorer = make(dataset)
    score(scorer)
    assert dataset.n_reads == 3
    score(scorer)
    assert dataset.n_reads > 3


class Small(Brightness):
    """The same on a device that takes only so many images at once."""

    def __init__(self, n_images):
        super().__init__()
        self.n_images = n_images

    def scores(self, images, classes):
        result = super().scores(images, classes)
        if len(images) > self.n_images:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return result


def test_where_memory_runs_out_fewer_images_go_together():
    dataset, small = Pictures(3), Small(1)
    scorer = make(dataset, small, n_images=4)
    with pytest.warns(UserWarning, match="batches of [21] images"):
        found = score(scorer)
    assert [shape[0] for shape in small.shapes] == [4, 2, 1, 1, 1]
    assert scorer.batch_size == 3
    for one, other in zip(found, score(make(dataset)), strict=True):
        np.testing.assert_allclose(one.errors, other.errors, rtol=1e-6)


def test_an_image_that_does_not_fit_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        score(make(Pictures(3), Small(0), n_images=1))
