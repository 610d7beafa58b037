"""The accuracy lost to a screen, measured on images that were scored with all classes as well."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zsd_ray.results.output import Output
from zsd_ray.stats.intervals import wilson

_FULL = ["image_id", "prediction", "label", "n_evaluations"]


def audit_path(output_path: str) -> str:
    """Return the path of a run's audit, which is an output like any other."""
    return f"{output_path.rstrip('/')}/audit"


def read_audit(output: Output, decisions: pa.Table) -> dict[str, Any]:
    """Return the figures of the audit in a run's output."""
    audit = Output(audit_path(output.path), output.store)
    return audit_metrics(decisions, audit.read_table("decisions", _FULL))


def audit_metrics(decisions: pa.Table, full: pa.Table) -> dict[str, Any]:
    """Compare decisions under a screen with those of the same images among all classes.

    An image is lost if the latter is a class that the screen left out. Images that either could not
    classify, or without a decision of the screen, are ignored.

    Args:
        decisions: rows of a run; full: rows of its audit.

    Returns:
        Counts, shares with their Wilson 95 % intervals (None without images), and the evaluations
        that the audit took.
    """
    place = pc.index_in(full["image_id"], value_set=decisions["image_id"].combine_chunks())
    both = full.append_column("place", place).filter(
        pc.and_(pc.is_valid(full["prediction"]), pc.is_valid(place))
    )
    screened = decisions.take(both["place"])
    known = pc.and_(pc.is_valid(screened["prediction"]), pc.is_valid(screened["n_candidates"]))
    both, screened = both.filter(known), screened.filter(known)
    among_all = _integers(both["prediction"])
    under_screen = _integers(screened["prediction"])
    # A single candidate is the prediction without a draw.
    draws = [row[k].as_py() for row, k in zip(screened["draws_per_class"], among_all, strict=True)]
    lost = (among_all != under_screen) & (np.array(draws, dtype=np.int64) == 0)
    labelled = pc.is_valid(both["label"]).to_numpy()
    labels = _integers(pc.fill_null(both["label"], -1))[labelled]
    n, n_labelled = len(both), len(labels)
    right = {
        "screened": int((under_screen[labelled] == labels).sum()),
        "full": int((among_all[labelled] == labels).sum()),
    }
    return {
        "audited": n,
        "audit_evaluations": pc.sum(full["n_evaluations"]).as_py() or 0,
        "screen_lost": int(lost.sum()),
        **_share("screen_loss", int(lost.sum()), n),
        "audit_labelled": n_labelled,
        **_share("audit_accuracy_screened", right["screened"], n_labelled),
        **_share("audit_accuracy_full", right["full"], n_labelled),
    }


def _share(name: str, count: int, n: int) -> dict[str, float | None]:
    low, high = wilson(count, n)
    found = {name: count / n, f"{name}_low": low, f"{name}_high": high} if n else {}
    return {key: found.get(key) for key in (name, f"{name}_low", f"{name}_high")}


def _integers(column: pa.ChunkedArray) -> NDArray[np.int64]:
    values: NDArray[np.int64] = column.to_numpy().astype(np.int64)
    return values
