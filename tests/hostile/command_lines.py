"""Arguments that no command expects."""

from __future__ import annotations

import random

VALUES = (
    *("", " ", "-", "--", "0", "-1", "1e400", "nan", "inf", "10" * 40, "0x_", "2026-13-01", "null"),
    *("~", "~nobody/x", "..", "/", "/dev/null", "/proc/self/mem", "\x00", "\ud800", "a" * 5000),
    *("🦉", "a\nb", "a b #c", "[", "{", "*", "&a [*a]", "!!int abc", "!!python/name:os.system"),
    *("s3://", "s3://no-bucket/x", "s3:///x", "nosuch://x", "https://u:p@127.0.0.1:9/x", "file://"),
    *("%s", "{}", "\\", "'", '"', "true", "no", "[1, 2]", "{a: 1}", "../../x", "C:\\x", "=", "a=b"),
)
KEYS = (
    *(
        "seed",
        "data.path",
        "data.limit",
        "data.source",
        "output.path",
        "model.path",
        "model.family",
    ),
    *("model.dtype", "method.name", "method.weighting", "method.t_range", "pruning.rule"),
    *(
        "pruning.p_value",
        "prompts.classes",
        "prompts.templates",
        "cluster.workers",
        "tracking.mlflow",
    ),
    *(
        "storage.endpoint",
        "storage.retry_seconds",
        "screen",
        "a",
        "a.b",
        "a..b",
        ".",
        "seed.x",
        "model",
    ),
)
_ASKING = (
    *("status", "rescore", "compare", "calibrate", "fit", "pairs", "shape-bias", "illustrate"),
    *("models", "datasets"),
)
_OPTIONS = (
    *("--json", "--html", "--limit", "--price", "--local", "--by-id", "--method", "--split"),
    *(
        "--weighting",
        "--rule",
        "--output",
        "--fit-share",
        "--decisions",
        "--images",
        "--help",
        "--js",
    ),
)


def make(rng: random.Random, run: str, config: str) -> list[str]:
    """Arguments of a command that reads, on this run or configuration file, or on neither."""
    if rng.random() < 0.5:
        arguments = ["plan", rng.choice((config, config, config, rng.choice(VALUES)))]
    else:
        arguments = [rng.choice((*_ASKING, rng.choice(VALUES)))]
        arguments += rng.choices((run, "learned", config, rng.choice(VALUES)), k=rng.randrange(3))
    for _ in range(rng.randrange(4)):
        if rng.random() < 0.6:
            arguments += ["--set", f"{rng.choice(KEYS)}={rng.choice(VALUES)}"]
        else:
            arguments += [rng.choice(_OPTIONS), *rng.choices(VALUES, k=rng.randrange(2))]
    if arguments[0] in ("plan", "status"):  # a store that is away is asked once
        arguments += ["--set", "storage.retry_seconds=0"]
    return arguments
