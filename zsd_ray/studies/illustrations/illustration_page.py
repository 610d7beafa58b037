"""Illustrations of a few images of a run: lines for the terminal, and a page of figures.

Shapes are those of studies/illustrations/illustration_file.py.
"""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray
from PIL import Image

from zsd_ray.reports.figures import BLUE, GRID, INK, MUTED, ORANGE, style
from zsd_ray.reports.lines import aligned, amount
from zsd_ray.reports.page import inline, render
from zsd_ray.stats.intervals import half_width
from zsd_ray.studies.illustrations.illustration_file import (
    Illustrations,
    ImagePictures,
    PairPictures,
)

# Beside BLUE, the prediction's, and ORANGE, the true class's where that is another.
_OTHERS = ("#cc79a7", "#8c6bb1", "#b8860b", "#7f8c8d", "#2aa198")
_MARKERS = "osD^vP"
_FRAME = "#009e73"  # no class's, and seen on black as on white

_SIDE = 128  # pixels of a picture in a figure
_HEAT = "viridis"
_HEAT_SHARE = 0.65  # of an overlay; the rest is the image


def illustration_lines(found: Illustrations) -> str:
    """Return lines on the parts that are shown, and those that are not."""
    rows = [("run", found.run), ("model", found.model)]
    for number, image in enumerate(found.images, 1):
        rows.append((f"image {number}", f"{image.image_id}: {', '.join(_roles(image))}"))
    rows += [("left out", line) for line in found.left_out]
    return aligned(rows)


def render_illustrations(found: Illustrations) -> str:
    """Render the page."""
    settings = found.settings
    return render(
        "studies/illustrations/illustrations.html",
        title=f"Illustrations of {found.run}",
        settings=[
            ("model", found.model),
            ("seed", str(found.seed)),
            ("inversion", f"DDIM, {settings.steps} steps to noise level {settings.level:g}"),
            ("distances", f"DDIM, {settings.level_steps} steps, {settings.noises} noises a level"),
        ],
        left_out=found.left_out,
        images=[_image(found, number) for number in range(len(found.images))],
        pairs=[_pair(found, number) for number in range(len(found.pairs))],
    )


def _image(found: Illustrations, number: int) -> dict[str, Any]:
    """One image's part of the page."""
    image, settings, cards = found.images[number], found.settings, []

    def add(kind: str, title: str, figure: Figure, caption: str) -> None:
        drawn = inline(figure, f"{kind}-{number}", f"{title}. {caption}")
        cards.append({"title": title, "svg": drawn, "caption": caption})

    if image.exchanged is not None:
        assert image.differences is not None
        add(
            "exchange",
            "Encoded under one class, decoded under another",
            exchange(image),
            "Each row inverts the image under one class's prompt, each column denoises what came "
            "of it under another's. The frames mark the diagonal, which must return the image. "
            "Below each picture: mean squared difference from the image, in the model's own space.",
        )
    reference = "the true class" if _own(image) is not None else "the prediction"
    add(
        "distances",
        "Distance against noise level",
        distances(image, settings.levels),
        "Left: the image is noised to a level and denoised under each class's prompt; mean squared "
        f"difference from it over {settings.noises} noises, with Student's 95% interval. Right: "
        f"the difference from {reference} over the same noises, in percent of its distance: above "
        "0 a class is further from the image. The noises are shared, so that what they do to all "
        "classes is in the left intervals alone.",
    )
    if image.attention is not None:
        add(
            "attention",
            "Attention to the name of each class",
            attention(image),
            "Where the image attends to the tokens of each name, in prompts that name the classes "
            f"together: mean over layers, noise levels and {settings.orders} orders of the names. "
            "One scale for all panels, from the least to the largest value.",
        )
    right = None if image.label is None else image.label == image.prediction
    return {
        "image_id": image.image_id,
        "source": image.source,
        "tag": {None: "no label", True: "right", False: "wrong"}[right],
        "picture": _data_uri(image.picture),
        "pixels": max(image.picture.shape) <= 64,
        "classes": ", ".join(_roles(image)),
        "cards": cards,
    }


def _pair(found: Illustrations, number: int) -> dict[str, Any]:
    pair = found.pairs[number]
    first, last = (found.images[i].image_id for i in (pair.first, pair.last))
    caption = (
        "In each row both images are inverted under one class, and points at even shares of the "
        f"arc between their latents are denoised under it: {first} on the left, {last} on the "
        "right. The framed ends must return the images."
    )
    return {
        "title": f"From {first} to {last}",
        "svg": inline(arc(pair), f"arc-{number}", caption),
        "caption": caption,
    }


@style
def exchange(image: ImagePictures) -> Figure:
    """K x K pictures: rows encode, columns decode; the diagonal is framed."""
    assert image.exchanged is not None
    assert image.differences is not None
    n = len(image.names)
    names = [_lines(image, place) for place in range(n)]
    figure, grid = _grid(n, n, 1.28, 1.42, names)
    figure.suptitle("decoded under", color=MUTED, fontsize=10.5)
    figure.supylabel("encoded under", color=MUTED, fontsize=10.5)
    for i in range(n):
        for j in range(n):
            _show(grid[i, j], image.exchanged[i, j], framed=i == j)
            grid[i, j].set_xlabel(amount(float(image.differences[i, j])), labelpad=5)
            grid[i, j].xaxis.label.set(color=MUTED, fontsize=8.5)
        grid[0, i].set_title(names[i], fontsize=9.5, color=_colour(image, i))
        _beside(grid[i, 0], names[i], _colour(image, i))
    return figure


@style
def arc(pair: PairPictures) -> Figure:
    """R x M pictures; the ends are framed."""
    n_rows, n = pair.pictures.shape[:2]
    names = [f"under\n{_wrapped(name, 13)}" for name in pair.names]
    figure, grid = _grid(n_rows, n, 1.24, 1.3, names)
    for i in range(n_rows):
        for j in range(n):
            _show(grid[i, j], pair.pictures[i, j], framed=j in (0, n - 1))
        _beside(grid[i, 0], names[i], INK)
    for j in range(n):
        share = f"{j / (n - 1):.0%}"
        grid[0, j].set_title(share, fontsize=9.5, color=MUTED)
    return figure


@style
def distances(image: ImagePictures, levels: Sequence[float]) -> Figure:
    """Plot one line per class with its interval: the distance, and the paired difference from one
    class."""
    values = image.distances.astype(np.float64)
    own = _own(image)
    reference = own if own is not None else image.classes.index(image.prediction)
    at_reference = values[reference].mean(axis=1)
    paired = (values - values[reference]) / at_reference[None, :, None]
    figure = Figure(figsize=(10.4, 4.4))
    left, right = figure.subplots(1, 2)
    names = _roles(image, 24)
    for place in range(len(image.names)):
        look = {"color": _colour(image, place), "zorder": 3 if place < 2 else 2}
        marker = _MARKERS[place % len(_MARKERS)]
        for axes, shown in ((left, values), (right, paired)):
            mean, half = shown[place].mean(axis=1), half_width(shown[place])
            axes.fill_between(levels, mean - half, mean + half, alpha=0.12, linewidth=0, **look)
            label = names[place] if axes is left else None
            axes.plot(levels, mean, marker=marker, markersize=4, label=label, **look)
    means = values.mean(axis=2)
    left.set_yscale("log")
    left.set_ylim(means.min() / 1.6, means.max() * 1.6)
    left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.yaxis.set_major_formatter("{x:g}")
    left.yaxis.set_minor_formatter(NullFormatter())
    left.set_ylabel("distance (mean squared difference of x)")
    right.yaxis.set_major_formatter(lambda share, _: f"{share:+.0%}" if share else "0")
    right.set_ylabel(f"difference from “{_wrapped(image.names[reference], 24, 1)}”")
    for axes in (left, right):
        axes.set_xlabel("noise level t (0: the image, 1: noise alone)")
        axes.set_xticks(levels)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


@style
def attention(image: ImagePictures) -> Figure:
    """Draw the image, and one panel per class with its map over it, on one scale."""
    assert image.attention is not None
    maps = image.attention.astype(np.float64)
    scale = ScalarMappable(Normalize(maps.min(), maps.max()), _HEAT)
    n_columns = min(4, 1 + len(maps))
    n_rows = -(-(1 + len(maps)) // n_columns)
    figure, grid = _grid(n_rows, n_columns, 2.0, 2.2)
    for axes in grid.flat:
        axes.set_visible(False)
    picture = _small(image.picture)
    panels = [picture, *(_over(picture, scale, each) for each in maps)]
    names = ["the image", *(_lines(image, place, 22) for place in range(len(maps)))]
    colours = [MUTED, *(_colour(image, place) for place in range(len(maps)))]
    for axes, panel, name, colour in zip(grid.flat, panels, names, colours, strict=False):
        axes.set_visible(True)
        _show(axes, panel, framed=False)
        axes.set_title(name, fontsize=9.5, color=colour)
    bar = figure.colorbar(scale, ax=grid, shrink=0.7, pad=0.02, aspect=25)
    bar.set_label("attention to the name's tokens", fontsize=9.5)
    bar.ax.tick_params(labelsize=9)
    bar.outline.set_visible(False)
    bar.ax.grid(visible=False)
    return figure


def _over(picture: NDArray[np.uint8], scale: ScalarMappable, of_class: NDArray[Any]) -> Any:
    """The colours of a map over the image in grey, (S, S, 3) in 0 .. 255."""
    size = picture.shape[1::-1]
    # To the picture's size before colours are looked up: between two colours lies no value.
    smooth = Image.fromarray(of_class.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    heat = np.asarray(scale.cmap(scale.norm(np.asarray(smooth))))[..., :3]
    grey = np.asarray(Image.fromarray(picture).convert("L"))[..., None] / 255
    mixed = _HEAT_SHARE * heat + (1 - _HEAT_SHARE) * grey
    return np.round(255 * mixed).astype(np.uint8)


def _grid(
    n_rows: int, n_columns: int, width: float, height: float, beside: Sequence[str] = ()
) -> tuple[Figure, NDArray[Any]]:
    """Axes for pictures, of this size in inches; beside: names at their left."""
    longest = max((len(line) for name in beside for line in name.split("\n")), default=0)
    margin = 0.6 + 0.075 * longest
    close = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.0, hspace=0.0)
    figure = Figure(figsize=(margin + width * n_columns, 0.5 + height * n_rows), layout=close)
    return figure, figure.subplots(n_rows, n_columns, squeeze=False)


def _show(axes: Axes, picture: NDArray[np.uint8], framed: bool) -> None:
    axes.imshow(_small(picture), interpolation="none")
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_yticks([])
    colour, width = (_FRAME, 3.0) if framed else (GRID, 0.6)
    axes.spines[:].set(visible=True, color=colour, linewidth=width)


def _beside(axes: Axes, text: str, colour: str) -> None:
    axes.set_ylabel(text, rotation=0, ha="right", va="center", color=colour, fontsize=9.5)


def _lines(image: ImagePictures, place: int, width: int = 13) -> str:
    """A class's name in two lines at most, and its role, which is never cut, in another."""
    return "\n".join(filter(None, [_wrapped(image.names[place], width), _role(image, place)]))


def _wrapped(name: str, width: int, max_lines: int = 2) -> str:
    lines = textwrap.wrap(_one_line(name), width, max_lines=max_lines, placeholder="…")
    return "\n".join(lines)


def _one_line(name: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in name).split())


def _own(image: ImagePictures) -> int | None:
    """The place of its true class."""
    return image.classes.index(image.label) if image.label in image.classes else None


def _role(image: ImagePictures, place: int) -> str:
    k = image.classes[place]
    roles = ["true"] * (k == image.label) + ["predicted"] * (k == image.prediction)
    return f"({', '.join(roles)})" if roles else ""


def _roles(image: ImagePictures, width: int | None = None) -> list[str]:
    """The classes' names with their roles, each in one line; width: of a name at most."""
    names = [_one_line(name) if width is None else _wrapped(name, width, 1) for name in image.names]
    return [f"{name} {_role(image, place)}".rstrip() for place, name in enumerate(names)]


def _colour(image: ImagePictures, place: int) -> str:
    k = image.classes[place]
    if k in (image.prediction, image.label):
        return BLUE if k == image.prediction else ORANGE
    return _OTHERS[(place - 1) % len(_OTHERS)]


def _small(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if max(picture.shape) <= _SIDE:
        return picture
    small = Image.fromarray(picture)
    small.thumbnail((_SIDE, _SIDE))
    return np.asarray(small)


def _data_uri(picture: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(_small(picture)).save(buffer, "png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
