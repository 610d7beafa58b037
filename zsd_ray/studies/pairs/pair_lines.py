"""The output of `zsd-ray pairs`."""

from __future__ import annotations

from zsd_ray.reports.lines import columns, percent, with_interval
from zsd_ray.studies.pairs.pair_scores import CHANCE, PairScores


def pairs_lines(scores: PairScores, n_left_out: int, doubt: str | None) -> str:
    """Return a table of the three scores, and caveats."""
    table = [("score", "right", "share", "by chance")]
    for name, chance in CHANCE.items():
        found = getattr(scores, name)
        share = with_interval(found.share, *found.interval)
        table.append((name, f"{found.right:,} of {scores.examples:,}", share, percent(chance)))
    lines = [columns(table)]
    if doubt is not None:
        lines.append(
            "\nimage and group score mean nothing here: they compare errors of different images, "
            f"and for that {doubt}"
        )
    if n_left_out:
        noun = "example" if n_left_out == 1 else "examples"
        lines.append(f"\n{n_left_out:,} {noun} left out: not all four scores are there")
    return "\n".join(lines)
