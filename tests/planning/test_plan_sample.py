"""What `zsd-ray plan` shows of the classes: a name at the wrong label is there to be seen."""

import json
from dataclasses import asdict

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.hostile import pictures
from tests.support.images import write_folder
from tests.support.tars import write_tar
from tests.support.tiny_models import BUILDERS, CLASSIFIER_BUILDERS
from zsd_ray.cli import main
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.planning.make_plan import make_plan
from zsd_ray.planning.plan_sample import plan_sample
from zsd_ray.reports.forecast_lines import sample_lines

FILES = [pictures.encoded(pictures.photograph(seed=seed)) for seed in range(6)]


def shown(tmp_path, data, prompts=None, model=None):
    """The sample of a run, and its text."""
    tree = {"data": data, "output": {"path": str(tmp_path / "out")}, "prompts": prompts or {}}
    if model is not None:
        tree |= {"model": model}
    config = parse_config(RunConfig, tree)
    plan = make_plan(config)
    sample = plan_sample(plan, config)
    json.dumps(asdict(sample))  # it is plain values
    return sample, sample_lines(sample, plan.bounds)


def test_digits(tmp_path):
    sample, text = shown(tmp_path, {"source": "digits"})
    assert [each.name for each in sample.classes] == ["zero", "one", "two"]
    first = sample.classes[0]
    assert first.prompts == ["a photo of a zero."]
    assert (asdict(first.labels[0]), first.model_labels) == ({"number": 0, "name": "zero"}, [])
    assert (first.n_images, first.image_id) == (50, "digits/0010")
    head, table = text.split("\n", 1)
    assert head == "the first 3 of 10 classes, named by the data itself (data.source digits):"
    assert "0      zero  a photo of a zero.  'zero'             50" in table


def test_a_folder_with_names_in_another_order(tmp_path):
    """Folder 10 comes before folder 2: the image beside the name gives it away."""
    write_folder(tmp_path / "set", 1, ("0", "1", "10", "2"))
    wrong = {"0": "zero", "1": "one", "10": "two", "2": "ten"}
    sample, text = shown(
        tmp_path, {"source": "folder", "path": str(tmp_path / "set")}, {"classes": wrong}
    )
    assert sample.classes[2].source.endswith("set/10/0.png")
    (line,) = [line for line in text.splitlines() if "/10/0.png" in line]
    assert line.split()[:2] == ["2", "two"]
    assert "'10'" in line
    assert "named by prompts.classes (a name for each label):" in text


@pytest.mark.parametrize(
    ("column", "classes", "names", "labels"),
    [
        ("text", None, ["cat", "dog", "emu"], [(0, "cat"), (1, "dog"), (2, "emu")]),
        ("text", ["emu", "cat", "dog"], None, [(2, "emu"), (0, "cat"), (1, "dog")]),
        ("number", ["a", "b", "c"], None, [(0, None), (1, None), (2, None)]),
        ("number", {"2": "x", "0": "y", "1": "z"}, list("xyz"), [(2, None), (0, None), (1, None)]),
    ],
)
def test_labels_of_parquet(column, classes, names, labels, tmp_path):
    texts = ["cat", "dog", "emu"] * 2
    table = pa.table({"image": FILES, "text": texts, "number": [0, 1, 2] * 2})
    pq.write_table(table, tmp_path / "set.parquet")
    data = {"source": "parquet", "path": str(tmp_path / "set.parquet"), "label_column": column}
    sample, _ = shown(tmp_path, data, {"classes": classes})
    assert [each.name for each in sample.classes] == (names or classes)
    found = [(each.labels[0].number, each.labels[0].name) for each in sample.classes]
    assert found == labels
    rows = [int(each.image_id.rpartition(":")[2]) for each in sample.classes]
    assert rows == [label for label, _ in labels]
    assert [each.n_images for each in sample.classes] == [2, 2, 2]


def test_tars_and_a_class_without_an_image(tmp_path):
    files = [
        (f"{n:03}.{end}", content)
        for n, data in enumerate(FILES)
        for end, content in (("png", data), ("cls", b"%d" % (2 * (n % 2))))
    ]
    write_tar(tmp_path / "set.tar", files)
    (tmp_path / "classnames.txt").write_text("cat\ndog\nemu")
    sample, text = shown(tmp_path, {"source": "webdataset", "path": str(tmp_path / "set.tar")})
    assert [each.n_images for each in sample.classes] == [3, 0, 3]
    assert [each.image_id for each in sample.classes] == ["set.tar:000", None, "set.tar:001"]
    assert text.splitlines()[3].split() == [
        "1", "dog", "a", "photo", "of", "a", "dog.", "'dog'", "0", "-",
    ]  # fmt: skip


def test_names_that_a_terminal_would_obey_are_shown_in_one_line(tmp_path):
    names = ["two\nlines", "\x1b[2Jgone", "x" * 200]
    sample, text = shown(tmp_path, {"source": "digits"}, {"classes": [*names, *"abcdefg"]})
    assert [each.name for each in sample.classes] == names
    lines = text.splitlines()
    assert len(lines) == 5
    assert "two lines" in lines[2]
    assert "?[2Jgone" in lines[3]
    assert "x" * 77 + "..." in lines[4]
    assert text.replace("\n", "").isprintable()


def test_captions_of_each_image(tmp_path):
    captions = [["a red cube", "a blue cube", "a can", "a ball", "a dog", "a cat"]] * 6
    table = pa.table({"image": FILES, "label": [5, 0, None, 1, 2, 3], "captions": captions})
    pq.write_table(table, tmp_path / "set.parquet")
    data = {"source": "parquet", "path": str(tmp_path / "set.parquet")}
    sample, text = shown(tmp_path, data | {"caption_column": "captions"})
    assert sample.classes == []
    assert [each.right for each in sample.images] == [5, 0, None]
    assert sample.images[0].prompts == sample.images[0].captions == captions[0]
    lines = text.splitlines()
    assert lines[0].startswith("the first 3 of 6 images, each with the captions that it chooses")
    assert lines[1].endswith("set.parquet:0")
    assert lines[2:8] == [
        "    a red cube", "    a blue cube", "    a can", "    a ball", "  * a cat",
        "    and 1 more",
    ]  # fmt: skip
    assert lines[9] == "  * a red cube"


@pytest.mark.parametrize(
    ("family", "kind", "classes"), [("ddpm", "labels", "cab"), ("timm", "folder", "201")]
)
def test_a_model_that_is_told_labels_says_which(family, kind, classes, tmp_path):
    builders = BUILDERS | CLASSIFIER_BUILDERS
    _, keys = builders[(family, kind)](tmp_path / "model")
    model = {"path": str(tmp_path / "model")} | keys | {"family": family, "device": "cpu"}
    if family == "ddpm":
        model["labels"] = ["a", "b", "c"]
    write_folder(tmp_path / "set", 1, ("p", "q", "r"))
    data = {"source": "folder", "path": str(tmp_path / "set")}
    sample, text = shown(tmp_path, data, {"classes": list(classes)}, model)
    assert [each.prompts for each in sample.classes] == [[name] for name in classes]
    assert [each.model_labels for each in sample.classes] == [[2], [0], [1]]
    assert "prompt  label of the model  label of the data" in text


def test_the_command_shows_it_and_json_has_it(capsys, tmp_path):
    arguments = ["plan", "configs/digits.yaml", f"--set=output.path={tmp_path}/run"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "the first 3 of 10 classes, named by prompts.classes (a list):" in printed
    assert "a photo of the digit one." in printed
    assert main([*arguments, "--json"]) == 0
    sample = json.loads(capsys.readouterr().out)["sample"]
    assert [each["name"] for each in sample["classes"]] == ["zero", "one", "two"]
    assert sample["classes"][1]["image_id"].startswith("digits/")


def test_no_image_is_read(tmp_path, monkeypatch):
    from zsd_ray.data.readers.folder import FolderDataset

    def refuse(*_):
        raise AssertionError("an image was read")

    monkeypatch.setattr(FolderDataset, "read", refuse)
    write_folder(tmp_path / "set")
    sample, _ = shown(tmp_path, {"source": "folder", "path": str(tmp_path / "set")})
    assert len(sample.classes) == 2
