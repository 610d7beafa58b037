import pytest

from zsd_ray.config.identity import differences, hash_of, identity_parts, resolved
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.planning.defaults import with_defaults
from zsd_ray.records.redaction import redacted


def parts(tree, classes=("a", "b"), of_label=(0, 1), fingerprint="f"):
    return identity_parts(parse_config(RunConfig, tree), classes, of_label, fingerprint)


@pytest.mark.parametrize(
    "tree",
    [
        {"seed": 1},
        {"method": {"loss": "l1"}},
        {"pruning": {"alpha": 0.01}},
        {"pruning": {"rule": "li"}},
        {"prompts": {"templates": ["a {}."]}},
        {"model": {"dtype": "bfloat16"}},
        {"data": {"split": "train"}},
        {"data": {"corruption": {"kind": "jpeg", "strength": 1}}},
        {"data": {"compatible": "torchvision"}},
    ],
)
def test_what_changes_numbers_changes_the_identity(tree):
    assert hash_of(parts(tree)) != hash_of(parts({}))
    assert differences(parts({}), parts(tree))


@pytest.mark.parametrize(
    "tree",
    [
        {"cluster": {"workers": 7, "batch_size": 3}},
        {"output": {"path": "elsewhere", "raw_scores": True}},
        {"tracking": {"mlflow": "off"}},
        {"model": {"device": "cpu"}},
        {"data": {"limit": 3}},
    ],
)
def test_what_does_not_change_numbers_does_not(tree):
    assert hash_of(parts(tree)) == hash_of(parts({}))


def test_a_corruption_counts_by_kind_and_strength_and_none_says_nothing():
    def corrupted(kind, strength):
        return parts({"data": {"corruption": {"kind": kind, "strength": strength}}})

    one, stronger, other = (
        corrupted(*each) for each in (("jpeg", 1), ("jpeg", 2), ("contrast", 1))
    )
    assert len({hash_of(each) for each in (one, stronger, other)}) == 3
    assert differences(one, stronger) == ["data.corruption.strength was 1, now 2"]
    assert "corruption" not in parts({})["data"]


def test_compatible_says_nothing_unset_wherever_data_is_written_down():
    """Not in runs alone: probes, trainings and FID hash the section as it is dumped."""
    assert "compatible" not in parse_config(RunConfig, {}).data.model_dump(mode="json")
    assert "compatible" not in parts({})["data"]
    assert parts({"data": {"compatible": "torchvision"}})["data"]["compatible"] == "torchvision"


def test_classes_and_weights_belong_to_it():
    assert hash_of(parts({}, classes=("a", "c"))) != hash_of(parts({}))
    assert hash_of(parts({}, of_label=(1, 0))) != hash_of(parts({}))
    assert hash_of(parts({}, fingerprint="g")) != hash_of(parts({}))


def test_differences_are_said_in_words():
    assert differences(parts({}), parts({"pruning": {"alpha": 0.01}})) == [
        "pruning.alpha was 0.1, now 0.01"
    ]


def test_a_difference_that_is_hidden_is_said_without_it():
    before, now = (
        parts({"data": {"source": "folder", "path": f"https://h/x?sig={key}"}})
        for key in ("AB", "CD")
    )
    assert before != now
    (said,) = differences(redacted(before), redacted(now))
    assert said == "what differs is hidden: a password, or the query of a URL"


def test_passwords_in_urls_are_hidden_everywhere():
    config = parse_config(
        RunConfig,
        {
            "tracking": {"mlflow": "https://me:hunter2@host/x"},
            "prompts": {"classes": ["https://me:hunter2@host", "b"]},
        },
    )
    assert "hunter2" not in str(resolved(config))
    assert redacted("s3://key:secret@bucket/x") == "s3://***@bucket/x"
    assert "SIG" not in redacted("https://host/data.parquet?sig=SIG")
    assert "pa/ss" not in redacted("https://u:pa/ss@host/x")
    assert redacted({"a": ["no url", 3]}) == {"a": ["no url", 3]}


def test_grids_under_li_are_others_than_before_they_had_stages_and_no_others():
    def filled(method, pruning):
        config = with_defaults(parse_config(RunConfig, {"method": method, "pruning": pruning}))
        return identity_parts(config, ("a", "b"), (0, 1), "f")

    plain = {"weighting": "simple", "t_range": [0.02, 0.98]}
    grid, stages = plain | {"timesteps": "grid"}, {"rule": "li", "draws": [2, 4]}
    found = filled(grid, stages)
    assert found["method"]["grid_stages"] == [2, 4]
    before = {key: of for key, of in found["method"].items() if key != "grid_stages"}
    assert hash_of(found) != hash_of({**found, "method": before}) == "dec3696e2f5ca880"
    assert hash_of(filled(grid, {"rule": "none"})) == "234f6822e0d3d56a"
    assert hash_of(filled(plain | {"timesteps": "stratified"}, stages)) == "6d82f2ffb4c95697"
