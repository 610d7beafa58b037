"""Made-up images whose labels are drawn from their scores: probabilities of them are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsd_ray.records.draw_table import Draws
from zsd_ray.records.scores import Decision, ItemScores, WorkItem
from zsd_ray.rules.rule import Rule
from zsd_ray.scheduling.elimination import Elimination
from zsd_ray.studies.calibration.evidence import Evidence


@dataclass
class LabelledScores:
    """N images, K classes, D draws. means: (N, K), what infinitely many draws would give.

    P(label is k) = softmax(-means / temperature): labels are drawn from it.
    """

    means: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]
    temperature: float

    @classmethod
    def draw(cls, shape, temperature, noise, seed=0) -> LabelledScores:
        """shape: (N, D, K). Each draw has a part that all classes share, five times their spread,
        and one of its own for each class, `noise` times their spread.
        """
        n, d, k = shape
        rng = np.random.default_rng(seed)
        means = rng.normal(0.0, 1.0, (n, k))
        labels = (means / temperature - rng.gumbel(size=(n, k))).argmin(axis=1)
        own = rng.normal(0.0, 1.0, (n, d, k)) * noise * rng.uniform(0.5, 1.5, (n, 1, k))
        shared = rng.normal(20.0, 5.0, (n, d, 1))
        return cls(means, means[:, None] + shared + own, labels, temperature)

    def decisions(self, rule: Rule, labels=None) -> list[Decision]:
        """What a run under this rule would write."""
        labels = self.labels.tolist() if labels is None else labels
        return [self._decide(i, rule, labels[i]) for i in range(len(self.scores))]

    def _decide(self, image: int, rule: Rule, label: int | None) -> Decision:
        k = self.scores.shape[2]
        elimination = Elimination(rule, k, keep_raw=False)
        draw = 0
        while elimination.outcome is None:
            classes = list(elimination.classes)
            n = elimination.target - draw
            drawn = Draws(np.tile([0.5, 0.7, 0.7, 1.0], (n, 1)))
            errors = self.scores[image, draw : draw + n][:, classes].astype(np.float32)
            item = WorkItem(image, draw, n, elimination.classes)
            elimination.add(item, ItemScores(errors, drawn))
            draw = elimination.n_draws
        outcome = elimination.outcome
        return Decision(
            image_id=f"image-{image:05d}",
            source="memory",
            label=label,
            prediction=outcome.ranking[0],
            top5=outcome.ranking[:5],
            mean_scores=outcome.mean_scores,
            gaps=outcome.gaps,
            gap_errors=outcome.gap_errors,
            draws_per_class=outcome.draws_per_class,
            n_draws=outcome.n_draws,
            n_candidates=k,
            n_evaluations=outcome.n_scores,
            n_spent=outcome.n_scores,
            stop_reason=outcome.stop_reason,
        )


def evidence_of(decisions: list[Decision]) -> Evidence:
    """The same as arrays."""

    def column(name, dtype):
        return np.array([getattr(decision, name) for decision in decisions], dtype=dtype)

    return Evidence(
        mean_scores=column("mean_scores", np.float64),
        gaps=column("gaps", np.float64),
        gap_errors=column("gap_errors", np.float64),
        draws=column("draws_per_class", np.int64),
        predictions=column("prediction", np.int64),
        n_evaluations=column("n_evaluations", np.int64),
    )
