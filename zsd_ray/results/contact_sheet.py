"""Contact sheets: many pictures in one, in named rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_LEAST_SIDE, _GAP = 64, 4


def contact_sheet(
    rows: Sequence[Sequence[NDArray[np.uint8]] | NDArray[np.uint8]], names: Sequence[str] = ()
) -> NDArray[np.uint8]:
    """Return rows of equal square pictures as one, (H, W, 3) uint8; small ones are enlarged.

    Args:
        names: of the rows; none: they have no names.
    """
    side = rows[0][0].shape[0]
    side *= max(1, -(-_LEAST_SIDE // side))
    step = side + _GAP
    font = ImageFont.load_default(size=13)
    shown = [name if len(name) <= 24 else f"{name[:23]}…" for name in names[: len(rows)]]
    margin = _GAP + (int(max(font.getlength(name) for name in shown)) + 8 if shown else 0)
    size = (margin + step * max(len(row) for row in rows), _GAP + step * len(rows))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for i, row in enumerate(rows):
        top = _GAP + i * step
        if shown:
            draw.text((_GAP, top + side / 2), shown[i], fill="black", font=font, anchor="lm")
        for j, picture in enumerate(row):
            enlarged = Image.fromarray(picture).resize((side, side), Image.Resampling.NEAREST)
            sheet.paste(enlarged, (margin + j * step, top))
    return np.asarray(sheet)
