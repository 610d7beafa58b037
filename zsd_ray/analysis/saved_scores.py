"""The raw scores of a run (OUTPUT/scores), as arrays.

Shapes: N images, K classes, R rows of the table (a row is a draw of an image), D draws of an image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zsd_ray.analysis.saved_run import SavedRun
from zsd_ray.records.errors import UserError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SavedScores:
    """Saved scores: the rows of an image are consecutive, draws ascending, each once.

    image_ids: of the N images; rows of image i are first_row[i] to first_row[i + 1].
    draw: (R,) int64. t, alpha, sigma, weight: (R,) float64.
    classes: int32 and errors: float32, one per cell; cells of row r are first_cell[r] to
        first_cell[r + 1].
    """

    image_ids: list[str]
    n_classes: int
    first_row: NDArray[np.int64]
    draw: NDArray[np.int64]
    t: Array
    alpha: Array
    sigma: Array
    weight: Array
    first_cell: NDArray[np.int64]
    classes: NDArray[np.int32]
    errors: NDArray[np.float32]

    @classmethod
    def of(cls, table: pa.Table, n_classes: int) -> SavedScores:
        """Make it from rows of OUTPUT/scores, in any order.

        A run that was killed may have saved a draw twice; the first one counts.
        """
        ids = table["image_id"].combine_chunks().dictionary_encode()
        code = ids.indices.to_numpy().astype(np.int64)
        draw = table["draw"].to_numpy().astype(np.int64)
        order = np.lexsort((draw, code))
        code, draw = code[order], draw[order]
        once = np.append(True, (np.diff(code) != 0) | (np.diff(draw) != 0))[: len(code)]
        order, code, draw = order[once], code[once], draw[once]
        if not np.array_equal(order, np.arange(len(table))):
            table = table.take(order)
        lengths = pc.list_value_length(table["classes"]).to_numpy()
        return cls(
            image_ids=ids.dictionary.to_pylist(),
            n_classes=n_classes,
            first_row=np.searchsorted(code, np.arange(len(ids.dictionary) + 1)),
            draw=draw,
            **{name: table[name].to_numpy() for name in ("t", "alpha", "sigma", "weight")},
            first_cell=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            classes=pc.list_flatten(table["classes"]).to_numpy(),
            errors=pc.list_flatten(table["eps_error"]).to_numpy(),
        )

    def rows(self, image: int) -> slice:
        """Return the range of the draws of image number `image` in the arrays of R."""
        return slice(int(self.first_row[image]), int(self.first_row[image + 1]))

    def errors_of(self, image: int) -> NDArray[np.float32]:
        """Return the errors of one image, (D, K) float32; nan where there is none."""
        rows = self.rows(image)
        cells = slice(int(self.first_cell[rows.start]), int(self.first_cell[rows.stop]))
        lengths = np.diff(self.first_cell[rows.start : rows.stop + 1])
        errors = np.full((rows.stop - rows.start, self.n_classes), np.nan, dtype=np.float32)
        errors[np.repeat(np.arange(len(errors)), lengths), self.classes[cells]] = self.errors[cells]
        return errors


def read_scores(run: SavedRun) -> SavedScores:
    """Read all raw scores of a run with `output.raw_scores: true` into memory.

    Raises:
        UserError: it saved none.
    """
    table = run.read("scores")
    if not len(table):
        raise UserError(
            f"{run.name} holds no raw scores; run it with output.raw_scores: true, and best with "
            "pruning: {rule: none}, so that every class has every draw"
        )
    return SavedScores.of(table, len(run.record.classes))
