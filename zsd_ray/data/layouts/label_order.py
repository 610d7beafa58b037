"""Mapping the labels of third-party files to the label numbers of a spec."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from zsd_ray.data.catalogue import DatasetSpec
from zsd_ray.data.labels.label_names import ranks_as_numbers
from zsd_ray.data.readers.parquet_reader import ParquetDataset
from zsd_ray.data.readers.webdataset_reader import WebDataset
from zsd_ray.records.errors import UserError, some


def order_labels(
    dataset: ParquetDataset | WebDataset, spec: DatasetSpec, shown: str, ordered: bool
) -> None:
    """Number the labels of a data set as `spec` does, and give them its names.

    Names are matched, in any spelling of space, "_", "-" and case, with the class names and with
    the archive's names of the classes. If none is known and there are as many, they are taken in
    their order, if they are `ordered` and not numbers sorted as text. That order, and numbers
    without names, are those of the set's copies (`spec.of_number`).

    Raises:
        UserError: a label is not a class of the set.
    """
    names = dataset.label_names
    numbers = [record.label for record in dataset.records]
    if names is not None:
        order = _numbers_of(names, spec, shown, ordered)
        dataset.records = dataset.records.relabelled(
            None if number is None else order[number] for number in numbers
        )
    else:
        largest = max((number for number in numbers if number is not None), default=-1)
        if largest >= spec.n_classes:
            raise UserError(
                f"{shown} holds label {largest}; {spec.title} has {spec.n_classes} classes, which "
                "count from 0: check data.source and data.label_column"
            )
        if spec.numbered is not None:
            order = spec.of_number
            dataset.records = dataset.records.relabelled(
                None if number is None else order[number] for number in numbers
            )
    dataset.label_names = spec.label_names


def _numbers_of(
    names: Sequence[str], spec: DatasetSpec, shown: str, ordered: bool
) -> Sequence[int]:
    known = _known(spec)
    missing = [name for name in names if _plain(name) not in known]
    if not missing:
        return [known[_plain(name)] for name in names]
    in_order = (None, list(range(len(names))))  # and no numbers that were sorted as text
    if (
        ordered
        and len(missing) == len(names) == spec.n_classes
        and (ranks_as_numbers(names) in in_order)
    ):
        return spec.of_number
    raise UserError(
        f"{shown} names {len(names)} labels, of which {len(missing)} are none of the "
        f"{spec.n_classes} classes of {spec.title} ({some(missing)}): check data.source and "
        "data.label_column"
    )


def _known(spec: DatasetSpec) -> Mapping[str, int]:
    """Return the number of each name that means only one class."""
    classes = () if spec.classes == "imagenet" else spec.classes
    pairs = {
        (_plain(name), number)
        for each in (classes, spec.labels)
        for number, name in enumerate(each)
    }
    n_meanings = Counter(name for name, _ in pairs)
    return {name: number for name, number in pairs if n_meanings[name] == 1}


def _plain(name: str) -> str:
    return name.casefold().replace("_", " ").replace("-", " ")
