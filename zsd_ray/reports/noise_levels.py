"""The noise levels of a run, in t and in signal-to-noise ratios, for plans and reports."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from zsd_ray.diffusion.time_range import NoiseLevels
from zsd_ray.reports.lines import Rows
from zsd_ray.results.run_file import RunFile


def noise_levels_text(levels: NoiseLevels) -> str:
    """Format noise levels in both measures."""
    t, (least, most) = levels.t_range, levels.snr_range
    ratios = f"{least:.3g} to {most:.3g}" if most is not None else f"{least:.3g} and above"
    return f"t from {t[0]:.3g} to {t[1]:.3g}, signal-to-noise ratio {ratios}"


def noise_levels_row(run: RunFile, draws: pa.Table) -> Rows:
    """Return the row of noise levels, from saved draws: the configuration has only one of the
    measures."""
    if run.config.get("method", {}).get("name") != "diffusion-classifier" or not len(draws):
        return []
    t, alpha, sigma = (draws[name].to_numpy() for name in ("t", "alpha", "sigma"))
    with np.errstate(divide="ignore"):
        snr = (alpha / sigma) ** 2
    most = float(snr.max())
    levels = NoiseLevels(
        (float(t.min()), float(t.max())), (float(snr.min()), most if np.isfinite(most) else None)
    )
    return [("noise levels", f"{noise_levels_text(levels)}, of the draws kept for this page")]
