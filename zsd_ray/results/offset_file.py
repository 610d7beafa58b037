"""OUTPUT/class_offset.json: what a run took out of its scores, for its report and for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from zsd_ray.records.errors import UserError
from zsd_ray.results.output import Output
from zsd_ray.stats.class_offset import ClassOffset

FILE = "class_offset.json"


@dataclass(frozen=True)
class OffsetRecord:
    """Of K classes, in standard deviations of one draw of an image; negative: the class looks
    likelier than its share of the images explains.

    images: that it was measured on; evaluations: what they took.
    shrinkage: the share of `offset` that was taken out; error: standard errors of it.
    significant: whether each class's is no chance, at 5 % for all of them together.
    """

    images: int
    evaluations: int
    shrinkage: float
    classes: tuple[str, ...]
    offset: tuple[float, ...]
    error: tuple[float, ...]
    significant: tuple[bool, ...]

    @classmethod
    def of(cls, found: ClassOffset, classes: Sequence[str], evaluations: int) -> OffsetRecord:
        """From what was measured."""
        return cls(
            images=len(found.ids),
            evaluations=evaluations,
            shrinkage=found.shrinkage,
            classes=tuple(classes),
            offset=tuple(found.mean.tolist()),
            error=tuple(found.error.tolist()),
            significant=tuple(found.significant.tolist()),
        )


def write_offset(output: Output, record: OffsetRecord) -> None:
    """Write it, whole or not at all; raises StoreError."""
    output.write_bytes(FILE, json.dumps(asdict(record), ensure_ascii=False).encode())


def read_offset(output: Output) -> OffsetRecord | None:
    """What a run wrote; None: nothing.

    Raises:
        UserError: it is damaged.
    """
    tree = output.read_json(FILE)
    if tree is None:
        return None
    try:
        record = OffsetRecord(
            images=int(tree["images"]),
            evaluations=int(tree["evaluations"]),
            shrinkage=float(tree["shrinkage"]),
            classes=tuple(str(name) for name in tree["classes"]),
            offset=tuple(float(value) for value in tree["offset"]),
            error=tuple(float(value) for value in tree["error"]),
            significant=tuple(bool(value) for value in tree["significant"]),
        )
        n = len(record.classes)
        if {len(record.offset), len(record.error), len(record.significant)} != {n}:
            raise ValueError("its lists differ in length")
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{output.shown(FILE)} is damaged ({error}); remove it, and run again"
        ) from error
    return record
