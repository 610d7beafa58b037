"""The classes that `zsd-ray plan` shows, so that a person can spot a name at the wrong label."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataLabel:
    """A label of the data that a class stands for; name: its name in the data, if any."""

    number: int
    name: str | None


@dataclass(frozen=True)
class ShownClass:
    """A class of the run.

    model_labels: the model's own labels that its prompts stand for; empty if it reads text.
    n_images: images of the data set with it; image_id, source: one of them, None if there is none.
    """

    number: int
    name: str
    prompts: list[str]
    labels: list[DataLabel]
    model_labels: list[int]
    n_images: int
    image_id: str | None
    source: str | None


@dataclass(frozen=True)
class ShownImage:
    """An image with its own captions; right: which of them fits, None if it is not known."""

    image_id: str
    source: str
    captions: list[str]
    prompts: list[str]
    right: int | None


@dataclass(frozen=True)
class PlanSample:
    """The first few of a run's classes, or of its images if these have their own captions.

    names_from: the source of the classes' names.
    """

    names_from: str
    classes: list[ShownClass]
    images: list[ShownImage]
