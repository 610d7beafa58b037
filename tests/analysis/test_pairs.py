import pytest

from tests.analysis.made_up_pairs import ALL_DRAWS, NULL, PAPER, write_pairs
from zsd_ray.records.errors import UserError
from zsd_ray.studies.pairs.pairs_of_run import pairs

TEXT_ONLY = [[1, 2], [5, 4]]
IMAGE_ONLY = [[1, 5], [2, 4]]
BOTH = [[1, 4], [3, 2]]


def test_the_matrix_is_found_in_the_decisions(tmp_path):
    """Each example tells a row from a column, and an image from the other."""
    found = pairs(write_pairs(tmp_path / "run", [TEXT_ONLY, BOTH, IMAGE_ONLY, BOTH, TEXT_ONLY]))
    scores = found.scores
    assert (scores.examples, found.n_left_out) == (5, 0)
    assert (scores.text.right, scores.image.right, scores.group.right) == (4, 3, 2)


def test_examples_that_are_not_whole_are_left_out(tmp_path):
    broken, unscored = [None, [1, 2]], [[1, 2], [2, float("nan")]]
    found = pairs(write_pairs(tmp_path / "run", [BOTH, broken, unscored]))
    assert (found.scores.examples, found.n_left_out) == (1, 2)


def test_a_run_without_whole_examples_says_so(tmp_path):
    path = write_pairs(tmp_path / "run", [BOTH, BOTH], images=(0,))
    with pytest.raises(UserError, match=r"both images have scores .* without data\.limit"):
        pairs(path)


def test_a_run_of_other_data_is_refused(tmp_path):
    path = write_pairs(tmp_path / "run", [BOTH], data={"source": "digits"})
    with pytest.raises(UserError, match=r"run of data\.source digits"):
        pairs(path)


@pytest.mark.parametrize(
    ("sections", "doubt"),
    [
        ({}, None),
        ({"method": PAPER}, "it needs method.normaliser: null-prompt"),
        ({"pruning": {"rule": "anytime"}}, "it needs pruning: {rule: none, draws: N}"),
        ({"method": PAPER, "pruning": {"rule": "anytime"}}, "null-prompt and pruning"),
        ({"method": {"name": "classifier"}, "model": {"family": "clip", "path": "x"}}, None),
        ({"method": {"name": "classifier"}, "model": {"family": "probe", "path": "x"}}, "one"),
        ({"method": {"name": "noise-denoise"}}, "method.name noise-denoise"),
    ],
)  # fmt: skip
def test_errors_of_different_images_are_doubted_where_they_should_be(tmp_path, sections, doubt):
    sections = {"method": NULL, "pruning": ALL_DRAWS, **sections}
    found = pairs(write_pairs(tmp_path / "run", [BOTH], **sections))
    if doubt is None:
        assert found.doubt is None
    else:
        assert doubt in found.doubt
