"""The benchmark of the scheduler's actor works; tests/test_benchmarks.py has the others."""

import importlib

import ray

from tests.support.benchmark_programs import ON_RAY, benchmarks, run_quick

__all__ = ["benchmarks"]


def test_it_runs(benchmarks, local_ray, monkeypatch, capsys):
    # Ray's workers do not look in benchmarks/ for what the program imports.
    scores = importlib.import_module("made_up_scores")
    ray.cloudpickle.register_pickle_by_value(scores)
    try:
        run_quick(ON_RAY, monkeypatch)
    finally:
        ray.cloudpickle.unregister_pickle_by_value(scores)
    assert "micro-batches/s" in capsys.readouterr().out
