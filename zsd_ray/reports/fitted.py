"""The output of `zsd-ray fit`."""

from __future__ import annotations

from zsd_ray.reports.lines import Rows, with_interval

Accuracy = tuple[int, float, float, float]
"""Images, the share that is right, and its interval."""


def fitted_rows(
    kind: str,
    path: str,
    n_images: int,
    n_draws: int,
    share: float | None,
    before: Accuracy | None,
    after: Accuracy | None,
    n_beyond: int = 0,
) -> Rows:
    """Return a name and a value for each line.

    Args:
        share: of the images whose labels a fit may use; None: it uses none.
        before, after: with the run's own weights and the fitted ones, on images whose labels it did
            not use; None: there are none.
        n_beyond: images in neither.
    """
    labels = "no labels" if share is None else f"with labels, of a share of {share:g}"
    rows = [
        ("weighting", kind),
        ("file", path),
        ("fitted on", f"{n_images:,} images ({labels}), {n_draws:,} draws"),
    ]
    if before is not None and after is not None:
        of = "" if share is None else "other "
        rows.append(("accuracy", f"{with_interval(*before[1:])} with the run's own weights"))
        rows.append(("", f"{with_interval(*after[1:])} with these, on {after[0]:,} {of}images"))
    if n_beyond:
        rows.append(("", f"{n_beyond:,} images want draws that were not saved, and are in neither"))
    rows.append(("to use it", f"method: {{weighting: {kind}, profile: {path}}}"))
    return rows
