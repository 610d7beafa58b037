"""The anytime rule keeps its promise: how often tied classes lose one that is among the best."""

import math

import numpy as np

from zsd_ray.rules.anytime import Anytime, AnytimePruning
from zsd_ray.rules.looks import Looks

N_IMAGES, N_CLASSES, N_DRAWS, ALPHA = 300, 4, 60, 0.2
# Of a share of images that is ALPHA at most: three binomial standard errors above it.
MOST = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / N_IMAGES)


def removed_share(rule):
    """How many images of tied classes, normal scores, lose class 0."""
    rng = np.random.default_rng(0)
    lost = sum(loses_class_0(rule, rng.normal(size=(N_DRAWS, N_CLASSES))) for _ in range(N_IMAGES))
    return lost / N_IMAGES


def loses_class_0(rule, scores):
    classes, seen = np.arange(N_CLASSES), 0
    while True:
        verdict = rule.look(scores[: rule.next_look(seen), classes], seen)
        classes, seen = classes[verdict.keep], verdict.n_draws
        if 0 not in classes:
            return True
        if verdict.stop_reason is not None:
            return False


def test_a_class_that_is_among_the_best_falls_in_no_more_images_than_promised():
    config = AnytimePruning(alpha=ALPHA, moderated=False, indifference=None, max_draws=N_DRAWS)
    found = removed_share(config.make(N_CLASSES))
    assert 0 < found <= MOST


def test_the_bound_catches_a_rule_of_twenty_times_the_error():
    looks = Looks(2, AnytimePruning().growth, N_DRAWS)
    broken = Anytime(N_CLASSES, 20 * ALPHA, AnytimePruning().scale, looks, False)
    assert removed_share(broken) > MOST
