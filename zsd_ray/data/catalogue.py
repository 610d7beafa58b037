"""The data sets of the literature: a description of each, and the layouts of its files.

A data set is one YAML file in assets/datasets. Nothing here knows a data set or a layout by name.
"""

from __future__ import annotations

import posixpath
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from zsd_ray.config.data import DataConfig
from zsd_ray.config.readers import CATALOGUE, DATASETS
from zsd_ray.config.run import parse_config
from zsd_ray.data.dataset import ImageDataset
from zsd_ray.data.location import Location
from zsd_ray.data.readers.shards import splits_in
from zsd_ray.records.errors import UserError
from zsd_ray.settings.added import added_objects
from zsd_ray.settings.documents import parse_yaml
from zsd_ray.settings.section import Count, Section

_N_IMAGENET = 1000
# Arguments of a layout that name a column, as keys of the data section do: the user's comes first.
_COLUMNS = ("image_column", "label_column")

LayoutName = Literal["official", "torchvision", "parquet", "webdataset", "flat-wnid", "folder"]
Text = Annotated[str, Field(min_length=1)]


class LayoutSpec(Section):
    """A layout of the files of a data set.

    reader: "module:function" of data/layouts/, or the name of an entry point of `zsd_ray.layouts`;
        called as `read(location, split, spec, **arguments)`, it returns None where what marks the
        layout is not there.
    needs: that mark, for people. Every other key is an argument of the reader; image_column and
        label_column reach it with what the data section says before them.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    reader: Annotated[str, Field(pattern=r"^(zsd_ray\.data\.layouts\.\w+:\w+|[\w-]+)$")]
    needs: Text

    @property
    def arguments(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    def open(
        self, config: DataConfig, location: Location, spec: DatasetSpec
    ) -> ImageDataset | None:
        """Open the data set; return None if its files are not in this layout. Raises UserError."""
        arguments = {
            key: _columns(getattr(config, key), value) if key in _COLUMNS else value
            for key, value in self.arguments.items()
        }
        read = self._function(spec)
        with location.user_errors(f"data.path {location.shown}"):
            dataset: ImageDataset | None = read(location, config.split, spec, **arguments)
        return dataset

    def _function(self, spec: DatasetSpec) -> Any:
        """Return the reader, ours or another package's; raises UserError."""
        module, _, name = self.reader.partition(":")
        if name:
            return getattr(import_module(module), name)
        known = added_objects("zsd_ray.layouts", FunctionType)
        if module not in known:
            raise UserError(
                f"{spec.title}: reader {module!r} is no entry point of zsd_ray.layouts; installed "
                f"are: {', '.join(known) or 'none'}"
            )
        return known[module]


class DatasetSpec(Section):
    """A data set of the catalogue.

    images: their number in the test split, which `split` describes in words.
    splits: the allowed values of data.split.
    template: CLIP's first template for this data set.
    classes: CLIP's names, in the order of the label numbers; "imagenet": those of ImageNet, from
        models/conditioning/templates.py.
    imagenet_labels: the numbers of each class among ImageNet's 1,000, where it is one or several
        of them.
    labels: the archive's name of each class (folders, lists), distinct, in the same order. By
        default the class names, and for ImageNet the WNIDs.
    numbered: `labels` in the order in which copies of the set number them, if that differs.
    source: the publication.
    get: instructions for obtaining the files.
    layouts: in the order in which they are tried.
    """

    name: Text
    title: Text
    images: Count
    split: Text
    splits: tuple[Literal["train", "test"], ...] = ("train", "test")
    metric: Literal["accuracy", "mean-per-class"]
    template: Annotated[str, Field(pattern=r"^[^{}]*\{\}[^{}]*$")]
    classes: Annotated[tuple[Text, ...], Field(min_length=2)] | Literal["imagenet"]
    imagenet_labels: tuple[tuple[int, ...], ...] | None = None
    labels: tuple[Text, ...]
    numbered: tuple[Text, ...] | None = None
    source: Text
    get: Text
    layouts: Annotated[dict[LayoutName, LayoutSpec], Field(min_length=1)]

    @property
    def n_classes(self) -> int:
        return len(self.labels)

    @property
    def label_names(self) -> Sequence[str]:
        """Return distinct names of the labels: the class names, if they are distinct and known
        here."""
        named = self.classes != "imagenet" and len(set(self.classes)) == len(self.classes)
        return self.classes if named else self.labels

    @property
    def of_number(self) -> Sequence[int]:
        """Return the class of each label number of a copy that does not name its labels."""
        numbered = self.numbered
        return range(self.n_classes) if numbered is None else [*map(self.labels.index, numbered)]

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, tree: Any) -> Any:
        if not isinstance(tree, Mapping):
            return tree
        classes, numbers = tree.get("classes"), tree.get("imagenet_labels")
        filled = dict(tree)
        if classes == "imagenet" and numbers is None:
            numbers = range(_N_IMAGENET)
        if isinstance(numbers, list | range):
            filled["imagenet_labels"] = [[n] if isinstance(n, int) else n for n in numbers]
        if isinstance(classes, list):
            filled.setdefault("labels", classes)
        elif classes == "imagenet":
            known = {str(number): wnid for number, wnid in enumerate(imagenet_wnids())}
            filled.setdefault("labels", [known.get(str(n), str(n)) for n in numbers or ()])
        return filled

    @model_validator(mode="after")
    def _labels_fit(self) -> Self:
        of_imagenet = self.imagenet_labels
        numbers = [number for each in of_imagenet or () for number in each]
        if len(set(numbers)) != len(numbers) or not set(numbers) <= set(range(_N_IMAGENET)):
            raise ValueError(f"imagenet_labels takes distinct numbers below {_N_IMAGENET}")
        n = len(of_imagenet or ()) if self.classes == "imagenet" else len(self.classes)
        if self.classes == "imagenet" and len(numbers) != n:
            raise ValueError("imagenet_labels takes one number for a class of ImageNet's own")
        if of_imagenet is not None and (len(of_imagenet) != n or not all(of_imagenet)):
            raise ValueError(f"imagenet_labels must give each of the {n} classes a number or more")
        distinct = len(set(self.labels))
        if len(self.labels) != n or n != distinct:
            raise ValueError(
                f"labels has {len(self.labels)} names, {distinct} of them distinct, for {n} "
                "classes; it takes a distinct one for each"
            )
        if self.numbered is not None and sorted(self.numbered) != sorted(self.labels):
            raise ValueError("numbered takes the labels, each once, in another order")
        return self


@cache
def imagenet_wnids() -> tuple[str, ...]:
    """Return the WordNet ids of ImageNet's 1,000 classes (Russakovsky et al. 2015), in label
    order."""
    return tuple((CATALOGUE / "imagenet_wnids.txt").read_text(encoding="utf-8").split())


@cache
def spec_of(name: str) -> DatasetSpec:
    """Return the spec of a data set from the catalogue, or from a file of the same form.

    Args:
        name: in the catalogue, or a path that ends with .yaml.

    Raises:
        UserError: there is none of this name, or its file is not a valid spec.
    """
    if name.endswith(".yaml"):
        return parse_spec(name, _text_of(name))
    if name not in DATASETS:
        raise UserError(f"no data set {name!r} in the catalogue; it has: {', '.join(DATASETS)}")
    return parse_spec(name, (CATALOGUE / f"{name}.yaml").read_text(encoding="utf-8"))


def _text_of(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"data.source {path} cannot be read: {error}") from error


def parse_spec(name: str, text: str) -> DatasetSpec:
    """Check the text of a spec; raises UserError with one line on the error."""
    where = name if name.endswith(".yaml") else f"assets/datasets/{name}.yaml"
    tree = parse_yaml(text, where)
    if not isinstance(tree, Mapping):
        raise UserError(f"{where} must be a mapping of keys of a data set")
    return parse_config(DatasetSpec, {"name": name, **tree}, where)


def open_named(config: DataConfig, location: Location | None) -> ImageDataset:
    """Open a data set of the catalogue in the first layout that its files at a location have.

    Labels are numbers in the order of `spec_of(config.source).classes`. Another number of images
    than in the spec is not an error: subsets are common.

    Raises:
        UserError: the files are in no known layout, or have invalid content.
    """
    assert location is not None
    spec = spec_of(config.source)
    if config.split not in spec.splits:
        raise UserError(
            f"data.split {config.split} is no split of {spec.title}, which has "
            f"{' and '.join(spec.splits)}"
        )
    layouts = _chosen(spec, config.layout)
    for name, layout in layouts.items():
        dataset = layout.open(config, location, spec)
        if dataset is not None:
            _check_columns(config, spec, name, layout)
            _compare_split(config, location)
            return dataset
    looked = "; ".join(f"{name} needs {layout.needs}" for name, layout in layouts.items())
    raise UserError(
        f"data.path {location.shown} holds no {spec.title} ({config.split} split) in a layout "
        f"that is read: {looked}. {spec.get}"
    )


def _compare_split(config: DataConfig, location: Location) -> None:
    """Warn if the path is named after another split: files that do not name theirs are all read."""
    name = posixpath.basename(location.shown)
    said = {name.lower()} if location.kind() == "directory" else splits_in(name)
    others = {"test": {"train"}, "train": {"test", "val", "valid", "validation"}}[config.split]
    if said and said <= others:
        warnings.warn(
            f"data.path {location.shown} is called {' '.join(sorted(said))}, and data.split is "
            f"{config.split}; set data.split to what the images are, since it is of the run's "
            "identity",
            stacklevel=3,
        )


def _check_columns(
    config: DataConfig, spec: DatasetSpec, name: LayoutName, layout: LayoutSpec
) -> None:
    """Refuse a column that the files do not have, rather than silently ignore it."""
    for key in _COLUMNS:
        default = DataConfig.model_fields[key].default
        if key not in layout.arguments and getattr(config, key) != default:
            raise UserError(
                f"data.{key} says nothing of {spec.title} in layout {name}, which data.path is "
                "found to have; remove it, or choose another data.layout"
            )


def _columns(of_user: str | None, of_layout: str) -> tuple[str, ...]:
    """Return the possible names of a column, best first; none if the user wants none."""
    return () if of_user is None else tuple(dict.fromkeys((of_user, of_layout)))


def _chosen(spec: DatasetSpec, layout: str | None) -> Mapping[LayoutName, LayoutSpec]:
    if layout is None:
        return spec.layouts
    chosen = {name: each for name, each in spec.layouts.items() if name == layout}
    if not chosen:
        raise UserError(
            f"data.layout {layout!r} is none of {spec.title}'s; they are: "
            f"{', '.join(spec.layouts)} (or null: as they are found)"
        )
    return chosen
