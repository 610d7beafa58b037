"""What `zsd-ray plan` shows of a run's classes, so that a person sees a name at the wrong label."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataLabel:
    """A label of the data that a class stands for; name: what the data call it, if anything."""

    number: int
    name: str | None


@dataclass(frozen=True)
class ShownClass:
    """A class of the run.

    model_labels: which of the model's own labels its prompts mean; empty where it reads text.
    n_images: of the data set that have it; image_id, source: one of them, None where there is none.
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
    """An image with captions of its own; right: which of them fits, None where it is not known."""

    image_id: str
    source: str
    captions: list[str]
    prompts: list[str]
    right: int | None


@dataclass(frozen=True)
class PlanSample:
    """The first few of a run's classes, or of its images where these have captions of their own.

    names_from: who says what the classes are called.
    """

    names_from: str
    classes: list[ShownClass]
    images: list[ShownImage]
