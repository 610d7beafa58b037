"""The examples of a property: all of them, or a share in the quick profile of `make test`."""

from __future__ import annotations

from hypothesis import settings

FULL_EXAMPLES = 100
QUICK_EXAMPLES = 20


def register() -> None:
    """Machines are busy: a slow example is no failure."""
    settings.register_profile("full", max_examples=FULL_EXAMPLES, deadline=None)
    settings.register_profile("quick", max_examples=QUICK_EXAMPLES, deadline=None)
    settings.load_profile("full")


def examples(n: int) -> settings:
    """Settings of a property that has `n` examples in the full profile."""
    return settings(max_examples=max(1, n * settings().max_examples // FULL_EXAMPLES))
