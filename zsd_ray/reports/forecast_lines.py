"""The output of `zsd-ray plan`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zsd_ray.diffusion.time_range import NoiseLevels
from zsd_ray.planning.estimate import Bounds, Estimate, Likely
from zsd_ray.reports.lines import Rows, amount, columns
from zsd_ray.reports.noise_levels import noise_levels_text
from zsd_ray.reports.progress_bar import duration
from zsd_ray.results.sample_file import DataLabel, PlanSample, ShownImage

_LONGEST = 80
"""Characters of a cell; --json has all."""


def bounds_rows(bounds: Bounds, levels: NoiseLevels | None = None) -> Rows:
    """Return the rows that are known without a pilot."""
    low, high = bounds.min_workers, bounds.max_workers
    workers = f"{high:,}" if low == high else f"{low:,} to {high:,}"
    gpus = f"with {bounds.gpus_per_worker:g} GPU each" if bounds.gpus_per_worker else "on CPUs"
    templates = "1 template" if bounds.n_templates == 1 else f"{bounds.n_templates} templates"
    return [
        ("output", bounds.output),
        (
            "images",
            f"{bounds.n_images:,} of {bounds.n_listed:,} in the data: {bounds.n_done:,} done, "
            f"{bounds.n_todo:,} to do",
        ),
        ("classes", f"{bounds.n_classes:,} with {templates}: {bounds.n_prompts:,} prompts"),
        *([("noise levels", noise_levels_text(levels))] if levels else []),
        ("workers", f"{workers}, {gpus}"),
        ("evaluations per image", _range(bounds.least, bounds.most)),
        ("evaluations in all", _range(bounds.least * bounds.n_todo, bounds.most * bounds.n_todo)),
        *_audit(bounds),
        *[("identity has" if not n else "", line) for n, line in enumerate(bounds.hashed)],
    ]


def sample_lines(sample: PlanSample, bounds: Bounds) -> str:
    """Return the first classes with their prompts, or the first images with their captions."""
    if sample.images:
        head = (
            f"the first {len(sample.images)} of {bounds.n_images:,} images, each with the captions "
            "that it chooses among (*: the right one):"
        )
        return "\n".join([head, *(line for image in sample.images for line in _choice(image))])
    n = len(sample.classes)
    head = f"the first {n} of {bounds.n_classes:,} classes, named by {sample.names_from}:"
    table = [["class", "name", "prompt", "label of the data", "images", "one of them"]]
    of_model = any(each.model_labels for each in sample.classes)
    if of_model:
        table[0].insert(3, "label of the model")
    for each in sample.classes:
        prompts, labels = _first(each.prompts), " and ".join(map(_label, each.labels))
        row = [str(each.number), each.name, prompts, labels or "none", f"{each.n_images:,}"]
        row.append(each.source or "-")
        if of_model:
            row.insert(3, ", ".join(map(str, each.model_labels)))
        table.append([*map(_short, row[:-1]), _printable(row[-1])])
    return f"{head}\n{columns(table)}"


def _choice(image: ShownImage) -> list[str]:
    """Return an image and its choices: at most five captions, including the right one."""
    each = len(image.prompts) // len(image.captions)
    shown = sorted({*range(min(4, len(image.captions))), image.right or 0})
    lines = [_printable(image.source)]
    for number in shown:
        mark = "*" if number == image.right else " "
        lines.append(
            f"  {mark} {_short(_first(image.prompts[number * each : (number + 1) * each]))}"
        )
    more = len(image.captions) - len(shown)
    return lines + ([f"    and {more:,} more"] if more else [])


def _first(prompts: Sequence[str]) -> str:
    more = len(prompts) - 1
    return prompts[0] + (f" (and {more:,} more)" if more else "")


def _label(label: DataLabel) -> str:
    """Return the name of a label, as the number of a text label is only its place in their
    order."""
    return str(label.number) if label.name is None else repr(label.name)


def _short(text: str) -> str:
    shown = _printable(text)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 3]}..."


def _printable(text: str) -> str:
    """Return a text in one line without control characters: names come from untrusted files."""
    return "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))


def _audit(bounds: Bounds) -> Rows:
    n = bounds.n_audit
    if not n:
        return []
    evaluations = _range(n * bounds.audit_least, n * bounds.audit_most)
    return [("audit, on top", f"{n:,} images with all classes, {evaluations} evaluations")]


def caveat(estimate: Estimate, local: bool) -> str:
    """Return the caveat of the figures."""
    where = "in one process on this machine" if local else "on the cluster's workers"
    return (
        f"An estimate from {estimate.n_pilot} images with nominal 95% intervals, timed {where}.\n"
        "Rare, costly images that the pilot missed, and the start of machines, come on top."
    )


def estimate_rows(bounds: Bounds, estimate: Estimate, pilot: Mapping[str, Any]) -> Rows:
    """Return the estimates of a pilot; `pilot` are the totals of its run."""
    rows = [
        ("evaluations per image", _likely(estimate.evaluations_per_image, "{:,.1f}".format)),
        ("evaluations in all", _likely(estimate.evaluations, amount)),
        ("seconds an evaluation", f"{amount(estimate.seconds_per_evaluation)} of one worker"),
        ("worker hours", _likely(estimate.worker_hours, amount)),
    ]
    if estimate.gpu_hours is not None:
        rows.append(("GPU hours", _likely(estimate.gpu_hours, amount)))
    hours = estimate.hours.times(3600)
    rows.append((f"duration, {bounds.max_workers:,} workers", _likely(hours, duration)))
    if estimate.cost is not None:
        rows.append(("cost", _likely(estimate.cost, lambda dollars: f"${dollars:,.2f}")))
    if pilot["accuracy"] is not None:
        low, high = pilot["accuracy_low"], pilot["accuracy_high"]
        rows.append(("pilot's accuracy", f"{pilot['accuracy']:.1%}  [{low:.1%}, {high:.1%}]"))
    return rows


def _range(least: int, most: int) -> str:
    return f"{least:,}" if least == most else f"at least {least:,}, at most {most:,}"


def _likely(figure: Likely, form: Callable[[float], str]) -> str:
    return f"{form(figure.value)}  [{form(figure.low)}, {form(figure.high)}]"
