"""The data section: which keys each source takes, and what is said of the others."""

import pytest

from zsd_ray.analysis.settings import changed
from zsd_ray.config.data import keys_of
from zsd_ray.config.identity import hash_of, identity_parts, resolved
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.records.errors import UserError
from zsd_ray.settings.section import WHOLE
from zsd_ray.storage.store import Store
from zsd_ray.studies.fid.fid_config import FidConfig
from zsd_ray.studies.probes.probe_config import ProbeConfig

# Whatever a key holds, be it what it holds by default.
GIVEN = {
    "path": "x",
    "layout": "official",
    "split": "test",
    "image_column": "image",
    "label_column": None,
    "caption_column": "texts",
    "task": "shape",
}
SOURCES = [
    "digits", "folder", "parquet", "webdataset", "clevr-binding", "two-objects", "winoground",
    "cifar10", "objectnet",
]  # fmt: skip


def section(source, **keys):
    path = {"path": "x"} if "path" in keys_of(source) else {}
    return {"source": source, **path, **keys}


@pytest.mark.parametrize("source", SOURCES)
def test_a_key_that_says_nothing_of_the_source_is_refused(source):
    for key, value in GIVEN.items():
        tree = {"data": section(source, **{key: value})}
        if key in keys_of(source):
            assert getattr(parse_config(RunConfig, tree).data, key) == value
            continue
        with pytest.raises(UserError, match=f"data: {key} says nothing of source {source}; remove"):
            parse_config(RunConfig, tree)


def test_the_message_says_which_sources_take_the_key():
    with pytest.raises(UserError) as caught:
        parse_config(RunConfig, {"data": section("folder", split="test")})
    assert str(caught.value) == (
        "config: data: split says nothing of source folder; remove it (it is for digits, "
        "two-objects, data sets by name)"
    )
    with pytest.raises(UserError, match=r"\(it is for parquet\)"):
        parse_config(RunConfig, {"data": section("cifar10", caption_column="texts")})


def test_every_data_section_of_every_configuration_is_checked():
    folder = section("folder", split="train")
    for kind, tree in (
        (ProbeConfig, {"data": {"train": folder, "test": section("folder")}}),
        (FidConfig, {"real": folder, "generated": section("folder")}),
    ):
        with pytest.raises(UserError, match="split says nothing of source folder"):
            parse_config(kind, tree)


def test_the_training_images_of_a_probe_may_have_no_splits():
    data = {"train": section("folder"), "test": section("folder", path="y")}
    config = parse_config(ProbeConfig, {"data": data})
    assert config.data.train.split == "train"  # as the identity of earlier probes has it
    assert "split" not in resolved(config)["data"]["train"]


@pytest.mark.parametrize("source", SOURCES)
def test_what_says_nothing_is_not_recorded(source):
    config = parse_config(RunConfig, {"data": section(source)})
    said = {"source", "corruption", "limit", *keys_of(source)}
    recorded = resolved(config)
    assert set(recorded["data"]) == said
    assert parse_config(RunConfig, recorded).data == config.data


def test_runs_of_earlier_versions_have_recorded_every_key():
    tree = {"data": section("folder"), "method": {"weighting": "vdm"}}
    saved = parse_config(RunConfig, tree).model_dump(mode="json", context={WHOLE: True})
    assert saved["data"]["split"] == "test"
    config = parse_config(RunConfig, saved, saved=True)
    assert changed(config, None, "li", [], Store()).pruning.rule == "li"


def test_the_identity_is_as_it_was():
    config = parse_config(RunConfig, {"data": section("folder")})
    parts = identity_parts(config, ("a", "b"), (0, 1), "f")
    assert parts["data"] == {
        "source": "folder", "path": "x", "split": "test", "image_column": "image",
        "label_column": "label",
    }  # fmt: skip
    assert hash_of(parts["data"]) == "fa67b08763e9c484"
