"""The output of `zsd-ray rescore`."""

from __future__ import annotations

from zsd_ray.analysis.comparison import Figures, OffsetEffect, Rescored
from zsd_ray.reports.lines import columns, percent, rule_text, with_interval


def rescored_lines(found: Rescored) -> str:
    """Return a table of the run's decisions and the replayed ones, and the limits of the
    comparison."""
    was, now = found.pruning
    table = [
        ("", "images", "accuracy", "evaluations per image", "weighting", "pruning"),
        ("before", *_figures(found.before), found.weighting[0], rule_text(was)),
    ]
    if found.n_beyond:
        table.append(("the same images", *_figures(found.same), "", ""))
    settings = (found.weighting[1], rule_text(now))
    if found.offset is None:
        table.append(("after", *_figures(found.after), *settings))
    else:
        table.append(("after, without offset", *_figures(found.offset.without), *settings))
        table.append(("after, class offset", *_figures(found.after), *settings))
    n_again = found.after.images
    lines = [columns(table), ""]
    if n_again:
        share = percent(found.n_agree / n_again)
        lines.append(f"{found.n_agree:,} of {_images(n_again)} decided as before ({share})")
    if found.offset is not None:
        lines.append(_offset(found.offset))
    if found.n_beyond:
        lines.append(
            f"{_images(found.n_beyond)} would need scores that were not saved (an image has up to "
            f"{found.n_saved_draws:,} draws, a class none after it fell); left out above"
        )
        if found.accuracy_least is not None and found.accuracy_most is not None:
            least, most = percent(found.accuracy_least), percent(found.accuracy_most)
            lines.append(f"with them the accuracy lies between {least} and {most}")
    if found.n_left_out:
        lines.append(
            f"{_images(found.n_left_out, 'other')} left out: the learned weights were fitted to "
            "their labels"
        )
    if found.n_errors:
        lines.append(f"{_images(found.n_errors)} could not be classified by the run itself")
    lines.append(f"replayed in {found.seconds:.1f} s")
    if found.output is not None:
        lines.append(f"decisions {found.output}/decisions/*.parquet")
    return "\n".join(lines)


def _offset(effect: OffsetEffect) -> str:
    """Describe the source of a class offset, and its effect."""
    of = f"the class offset is of these {_images(effect.images)} themselves (transductive)"
    if effect.difference is None or effect.difference_low is None or effect.difference_high is None:
        return of
    low, high = 100 * effect.difference_low, 100 * effect.difference_high
    return (
        f"{of}: accuracy {100 * effect.difference:+.1f} points [{low:+.1f}, {high:+.1f}], "
        f"McNemar's p {effect.p_value:.2g}; {effect.shrinkage:.0%} of it is no noise"
    )


def _figures(figures: Figures) -> tuple[str, str, str]:
    mean = figures.evaluations_per_image
    accuracy = with_interval(figures.accuracy, figures.accuracy_low, figures.accuracy_high)
    return f"{figures.images:,}", accuracy, "-" if mean is None else f"{mean:,.1f}"


def _images(n: int, which: str = "") -> str:
    noun = "image" if n == 1 else "images"
    return " ".join([f"{n:,}", *([which] if which else []), noun])
