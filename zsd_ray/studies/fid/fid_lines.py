"""The output of `zsd-ray fid`."""

from __future__ import annotations

from zsd_ray.reports.lines import Rows
from zsd_ray.studies.fid.fid_file import FidEntry


def fid_rows(entry: FidEntry) -> Rows:
    """Return the two distances, their uncertainties, and the numbers of images."""
    fid = f"{entry.fid:.4g}"
    if entry.fid_low is not None and entry.fid_high is not None:
        fid += f"  95% interval [{entry.fid_low:.4g}, {entry.fid_high:.4g}]"
    kid = f"{entry.kid:.4g}"
    if entry.kid_standard_error is not None:
        kid += f" ± {entry.kid_standard_error:.2g}"
    subsets = f"{entry.kid_subsets} subsets" if entry.kid_subsets > 1 else "one subset"
    return [
        ("FID", fid),
        ("KID", f"{kid}  ({subsets} of {entry.kid_subset:,})"),
        ("images", f"{entry.n_generated:,} generated, {entry.n_real:,} real"),
        ("features", f"{entry.n_features:,}, {entry.identity_parts['extractor']['kind']}"),
    ]
