"""OUTPUT/class_offset.json: the offset that a run subtracted, for its report and for people."""

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
    """The offsets of K classes, in standard deviations of one draw of an image; negative: the class
    looks likelier than its share of the images explains.

    images: used to measure it; evaluations: of these.
    shrinkage: the share of `offset` that was subtracted; error: its standard errors.
    significant: whether each class's offset is significant, at 5 % for all jointly.
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
        """Return the record of a measured offset."""
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
    """Write the record atomically; raises StoreError."""
    output.write_bytes(FILE, json.dumps(asdict(record), ensure_ascii=False).encode())


def read_offset(output: Output) -> OffsetRecord | None:
    """Return the record that a run wrote; None if there is none.

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
