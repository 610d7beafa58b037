"""Outputs of runs over pairs that never ran."""

from tests.support.digit_runs import PAPER
from zsd_ray.config.identity import resolved
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.records.scores import Decision
from zsd_ray.results.output import Output
from zsd_ray.results.run_file import RunFile

NULL = {**PAPER, "normaliser": "null-prompt"}
ALL_DRAWS = {"rule": "none", "draws": 8}
NAN = float("nan")


def write_pairs(path, examples, data=None, images=(0, 1), **sections):
    """Write a run of the examples' 2 x 2 errors, by (image, caption); None for an image's error.

    Captions 2 e and 2 e + 1 are those of example e; the rows come in no order.
    """
    tree = {
        "data": data or {"source": "winoground", "path": "somewhere"},
        "method": NULL,
        "pruning": ALL_DRAWS,
        "output": {"path": str(path)},
    }
    config = parse_config(RunConfig, {**tree, **sections})
    decisions = []
    for number, errors in enumerate(examples):
        for image in images:
            row = errors[image]
            means = [NAN] * 2 * len(examples)
            means[2 * number : 2 * number + 2] = row or [NAN, NAN]
            decisions.append(
                Decision(
                    image_id=f"{number + 7}/{image}",
                    source="memory",
                    label=2 * number + image,
                    prediction=None if row is None else 2 * number,
                    mean_scores=() if row is None else tuple(means),
                    error="unreadable" if row is None else None,
                )
            )
    output = Output(str(path))
    output.prepare()
    output.write_decisions(decisions[::-1], raw_scores=False, part="part-0.parquet")
    output.write_run(
        RunFile(
            status="finished",
            config=resolved(config),
            identity=str(path),
            identity_parts={},
            classes=[f"caption {k}" for k in range(2 * len(examples))],
            versions={},
            seed=0,
            n_images=len(decisions),
        )
    )
    return str(path)
