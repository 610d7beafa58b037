"""How prompts.classes and the labels of the data come together."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from zsd_ray.config.data import DataConfig
from zsd_ray.data.labels.classes import ClassList, fill_templates, read_names, resolve_classes
from zsd_ray.data.open import open_dataset
from zsd_ray.records.errors import UserError

PETS = ["cat", "dog", "emu"]
WNIDS = ["n01", "n02", "n03"]


def refused(*arguments: object) -> str:
    with pytest.raises(UserError) as caught:
        resolve_classes(*arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_null_takes_the_names_of_the_data() -> None:
    assert resolve_classes(None, PETS, [0, 2]) == ClassList(("cat", "dog", "emu"), (0, 1, 2))


def test_null_without_names_is_refused() -> None:
    for labels in ([0, 1], [None]):
        assert "set prompts.classes" in refused(None, None, labels)


def test_a_list_with_every_name_is_matched_by_name() -> None:
    classes = resolve_classes(["emu", "fox", "dog", "cat"], PETS, [])
    assert classes == ClassList(("emu", "fox", "dog", "cat"), (3, 2, 0))
    assert [classes.class_of(label) for label in (0, 1, 2, None)] == [3, 2, 0, None]


def test_a_list_of_other_names_is_matched_by_order() -> None:
    classes = resolve_classes(PETS, WNIDS, [])
    assert classes == ClassList(("cat", "dog", "emu"), (0, 1, 2))


def test_a_list_that_matches_in_part_is_refused() -> None:
    message = refused(["cat", "dog", "fox"], PETS, [])
    assert "has 3 names and the data 3, of which 1 are not in prompts.classes (emu)" in message
    message = refused(["cat", "x"], ["a", "b", "c", "cat", "d"], [])
    assert "of which 4 are not in prompts.classes (a, b, c, ...)" in message


@pytest.mark.parametrize("listed", [["x", "y"], ["x", "y", "z", "w"]])
def test_a_list_of_other_names_and_another_length_is_refused(listed: list[str]) -> None:
    assert "of which 3 are not" in refused(listed, WNIDS, [])


def test_other_spelling_in_another_order_is_refused() -> None:
    """By order, these would be swapped without a word."""
    data = ["brown_bear", "polar_bear"]
    message = refused(["polar bear", "Brown Bear"], data, [])
    assert "brown_bear is 'polar bear' there" in message
    assert resolve_classes(["Brown Bear", "polar-bear"], data, []).of_label == (0, 1)


TWELVE = tuple("zero one two three four five six seven eight nine ten eleven".split())  # noqa: SIM905


@pytest.mark.parametrize(
    "form", ["{}", "class_{}", "{}.0", "step {} of 12", "-{}"], ids=lambda form: form
)
def test_labels_that_are_numbers_are_taken_in_the_order_of_numbers(form: str) -> None:
    """In the order of text, folder 2 would be called "four"."""
    labels = sorted(form.format(number) for number in range(12))
    names = list(reversed(TWELVE)) if form == "-{}" else TWELVE
    with pytest.warns(UserWarning, match="12 labels are taken in the order of their numbers"):
        classes = resolve_classes(names, labels, [])
    assert classes.of_label is not None
    for number in range(12):
        place = classes.of_label[labels.index(form.format(number))]
        assert classes.names[place] == TWELVE[number]


def test_the_order_of_numbers_is_said(recwarn: pytest.WarningsRecorder) -> None:
    resolve_classes(TWELVE, sorted(map(str, range(12))), [])
    assert "0 is 'zero', 1 is 'one', 2 is 'two', ...; map label: name" in str(recwarn[0].message)


@pytest.mark.parametrize(
    "labels",
    [
        [f"{number:02}" for number in range(12)],  # of which text and numbers have one order
        [str(number) for number in range(100, 112)],
        sorted("abcdefghijkl"),
    ],
)
def test_no_more_is_said_where_all_orders_are_one(
    labels: list[str], recwarn: pytest.WarningsRecorder
) -> None:
    assert resolve_classes(TWELVE, labels, []).of_label == tuple(range(12))
    assert not recwarn


def test_names_with_the_labels_numbers_keep_the_order_of_text(
    recwarn: pytest.WarningsRecorder,
) -> None:
    labels = ["DC-10", "DC-3", "DC-6"]
    listed = ["Douglas DC-10", "Douglas DC-3", "Douglas DC-6"]
    assert resolve_classes(listed, labels, []).of_label == (0, 1, 2)
    assert not recwarn


def test_orders_that_may_be_read_in_two_ways_are_said() -> None:
    with pytest.warns(UserWarning, match=r"order of their text, .*: a10 is 'x', a2 is 'y', b1"):
        assert resolve_classes(["x", "y", "z"], ["a10", "a2", "b1"], []).of_label == (0, 1, 2)
    with pytest.warns(UserWarning, match=r"data's own order, .*: 1 is 'x', 2 is 'y', 0 is 'z'"):
        assert resolve_classes(["x", "y", "z"], ["1", "2", "0"], []).of_label == (0, 1, 2)


def test_labels_that_are_one_number_are_refused() -> None:
    assert "'01' and '1' are one number" in refused(["x", "y", "z"], ["01", "1", "2"], [])


def test_the_order_of_text_and_of_numbers_are_two_runs() -> None:
    """So an output of classes that were taken in the order of text is not gone on with."""
    labels = sorted(map(str, range(12)))
    with pytest.warns(UserWarning, match="order of their numbers"):
        assert resolve_classes(TWELVE, labels, []).of_label != tuple(range(12))
    # With the data's own names nothing is matched by order, and nothing has changed.
    assert resolve_classes(None, labels, []) == ClassList(tuple(labels), tuple(range(12)))


def test_label_numbers_of_labels_that_are_other_numbers_are_refused() -> None:
    mapping = {"0": "five", "1": "ten", "2": "fifteen"}
    message = refused(mapping, ["10", "15", "5"], [])
    assert "the data's labels are called 10, 15, 5, which are other numbers" in message


def test_bare_numbers_count_into_a_list() -> None:
    classes = resolve_classes(PETS, None, [2, None, 0])
    assert classes == ClassList(("cat", "dog", "emu"), None)
    assert [classes.class_of(label) for label in (2, None)] == [2, None]


def test_a_bare_number_beyond_the_list_is_refused() -> None:
    assert "has 3 names, but the data holds label 3;" in refused(PETS, None, [0, 3])


def test_data_without_labels_takes_a_list() -> None:
    assert resolve_classes(PETS, None, [None, None]) == ClassList(("cat", "dog", "emu"), None)


def test_a_mapping_from_names() -> None:
    mapping = {"dog": "a hound", "emu": "a bird", "yak": "an ox", "cat": "a feline"}
    classes = resolve_classes(mapping, PETS, [])
    assert classes == ClassList(("a hound", "a bird", "an ox", "a feline"), (3, 0, 1))


def test_a_mapping_from_numbers_of_named_labels() -> None:
    classes = resolve_classes({"1": "hound", "0": "feline", "2": "bird"}, PETS, [])
    assert classes == ClassList(("hound", "feline", "bird"), (1, 0, 2))


def test_names_that_are_numbers_are_names() -> None:
    """Folders 1, 2, 3 have the label numbers 0, 1, 2; the keys mean the folders."""
    mapping = {"1": "one", "2": "two", "3": "three"}
    assert resolve_classes(mapping, ["1", "2", "3"], []).of_label == (0, 1, 2)
    message = refused({"0": "zero", "1": "one", "2": "two"}, ["1", "2", "3"], [])
    assert "1 of the data's 3 are not among them (3)" in message


def test_a_mapping_from_bare_numbers() -> None:
    classes = resolve_classes({"7": "cat", "3": "dog", "other": "emu"}, None, [3, 7, 3, None])
    assert classes.names == ("cat", "dog", "emu")
    assert [classes.class_of(label) for label in (7, 3, None)] == [0, 1, None]
    assert classes.of_label == (-1, -1, -1, 1, -1, -1, -1, 0)
    # The map does not depend on how many images are taken.
    assert resolve_classes({"7": "cat", "3": "dog", "other": "emu"}, None, [3]) == classes


def test_a_mapping_that_lacks_a_label_is_refused() -> None:
    message = refused({"cat": "a", "dog": "b"}, PETS, [])
    assert "maps 2 labels, but 1 of the data's 3 are not among them (emu)" in message
    message = refused({"0": "a", "1": "b"}, None, [0, 5, 4, 5, 9, 8])
    assert "4 of the data's 5 are not among them (4, 5, 8, ...)" in message
    assert "not among them (1)" in refused({"0": "a", "01": "b"}, None, [0, 1])


def test_a_mapping_from_a_huge_number_is_refused() -> None:
    assert "maps label 99999999999" in refused({"0": "a", "99999999999": "b"}, None, [0])


@pytest.mark.parametrize(
    ("classes", "names"), [(None, ["cat"]), (["cat"], ["cat"]), ({"cat": "a"}, ["cat"]), ([], None)]
)
def test_fewer_than_two_classes_are_refused(classes: object, names: list[str] | None) -> None:
    assert "at least 2" in refused(classes, names, [])


def test_a_name_twice_is_refused_only_where_names_are_matched() -> None:
    assert "names cat more than once" in refused(["cat", "dog", "emu", "cat"], PETS, [])
    with pytest.warns(UserWarning, match="the text crane to several classes"):
        assert resolve_classes(["crane", "crane ", "dog"], WNIDS, []).of_label == (0, 1, 2)
    with pytest.warns(UserWarning, match="no model can tell them apart"):
        assert resolve_classes(["crane", "crane"], None, [0, 1]).names == ("crane", "crane")
    with pytest.warns(UserWarning, match="no model can tell them apart"):
        resolve_classes({"cat": "pet", "dog": "pet", "emu": "bird"}, ["cat", "dog", "emu"], [])


def test_a_blank_name_is_refused() -> None:
    assert "blank" in refused(["cat", " "], None, [0])


def test_a_text_file(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_bytes("\ufeff# the pets\ncat\r\n  dog \n # no pet\némeu #1\n\n # end\n\n".encode())
    assert read_names(str(file)) == ["cat", "dog", "émeu #1"]
    assert resolve_classes(str(file), None, [2]).names == ("cat", "dog", "émeu #1")


@pytest.mark.parametrize("text", ["cat\n\ndog\nemu\n", "\ncat\ndog\nemu", "cat\rdog\r \t\remu"])
def test_a_blank_line_before_a_name_is_refused(tmp_path: Path, text: str) -> None:
    """Left out, it would move every name behind it by one."""
    file = tmp_path / "names.txt"
    file.write_text(text, newline="")
    message = refused(str(file), None, [2])
    number = [line.strip() for line in text.splitlines()].index("") + 1
    assert f"names.txt: line {number} is blank, and names follow" in message


def test_only_line_ends_end_a_line(tmp_path: Path) -> None:
    """str.splitlines would make two names of each of these."""
    file = tmp_path / "names.txt"
    file.write_text("a\x0cb\na\x85b\na\u2028b\n", encoding="utf-8", newline="")
    assert read_names(str(file)) == ["a\x0cb", "a\x85b", "a\u2028b"]


def test_a_remote_text_file(memory: str) -> None:
    fsspec.filesystem("memory").pipe("/bucket/data/names.txt", b"emu\ncat\ndog")
    classes = resolve_classes(f"{memory}/names.txt", PETS, [])
    assert classes == ClassList(("emu", "cat", "dog"), (1, 2, 0))


def test_text_files_that_cannot_be_used(tmp_path: Path) -> None:
    message = refused(str(tmp_path / "gone.txt"), PETS, [])
    assert message == f"cannot read prompts.classes {tmp_path}/gone.txt: no such file or folder"
    (tmp_path / "empty.txt").write_text("\n# only a remark\n")
    assert "holds no names" in refused(str(tmp_path / "empty.txt"), PETS, [])
    (tmp_path / "binary.txt").write_bytes(b"\x89PNG\xff")
    assert "cannot read prompts.classes" in refused(str(tmp_path / "binary.txt"), PETS, [])
    assert "cannot read prompts.classes" in refused(str(tmp_path), PETS, [])
    message = refused("nosuchprotocol://me:SECRET@host/names.txt", PETS, [])
    assert "SECRET" not in message


def test_templates_are_filled_in_class_major_order() -> None:
    prompts = fill_templates(["cat", "{dog}"], ["a {}.", "{} {x}"])
    assert prompts == ["a cat.", "cat {x}", "a {dog}.", "{dog} {x}"]


def test_the_built_in_digits() -> None:
    digits = open_dataset(DataConfig())
    own = resolve_classes(None, digits.label_names, (r.label for r in digits.records))
    assert own.names[:2] == ("zero", "one")
    assert own.of_label == tuple(range(10))
    turned = resolve_classes(list(reversed(own.names)), digits.label_names, [])
    assert turned.of_label == tuple(range(9, -1, -1))


def test_real_class_names_of_cifar10(shared_data: Path) -> None:
    """The paper's names come in the order of CIFAR-10's labels, which are bare numbers here."""
    path = str(shared_data / "cifar10" / "test.parquet")
    numbers = open_dataset(DataConfig(source="parquet", path=path))
    names = open_dataset(DataConfig(source="parquet", path=path, label_column="class_name"))
    assert names.label_names is not None
    listed = list(reversed(names.label_names))
    by_name = resolve_classes(listed, names.label_names, [])
    by_number = resolve_classes(names.label_names, None, (r.label for r in numbers.records))
    for named, numbered in zip(names.records[:100], numbers.records[:100], strict=True):
        first, second = by_name.class_of(named.label), by_number.class_of(numbered.label)
        assert first is not None
        assert second is not None
        assert by_name.names[first] == by_number.names[second]
