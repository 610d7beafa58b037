from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from tests.support.sizes import cost_of, evaluations_per_batch
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.records.cost import ONE_EACH, Cost
from zsd_ray.records.scores import WorkItem
from zsd_ray.scheduling.packer import take

items = st.builds(
    WorkItem,
    image=st.integers(0, 3),
    first_draw=st.integers(0, 50),
    n_draws=st.integers(1, 8),
    classes=st.sets(st.integers(0, 30), min_size=1, max_size=12).map(lambda s: tuple(sorted(s))),
)


def run(screen=None, **method):
    return parse_config(RunConfig, {"method": method, "screen": screen})


def test_a_batch_holds_rows_and_not_steps():
    assert evaluations_per_batch(run(name="noise-denoise", steps=7), 64, 10) == 64 * 7
    assert evaluations_per_batch(run(name="ddim-knn", steps=7), 4, 10) == 10 * 7  # one image
    method = run(name="weighted-prompts", steps=5, batch_size=4)
    assert evaluations_per_batch(method, 64, 10) == 64 * 5  # sixteen images
    assert evaluations_per_batch(run(weighting="simple"), 64, 10) == 64
    assert evaluations_per_batch(run(name="classifier"), 64, 10) == 640


def test_a_screen_leaves_a_prompt_few_names():
    method = {"name": "cross-attention", "times": [0.5], "group": 4}
    assert cost_of(run(**method), 100) == Cost(0, 25 + 7 + 2 + 1, whole=True)
    screen = {"run": "somewhere", "top": 5}
    assert cost_of(run(screen, **method), 100) == Cost(0, 2 + 1, whole=True)


def cells(sequence):
    return [
        (item.image, draw, class_)
        for item in sequence
        for draw in range(item.first_draw, item.first_draw + item.n_draws)
        for class_ in item.classes
    ]


@given(st.lists(items, max_size=6), st.integers(1, 200))
def test_takes_from_the_front_to_the_last_score_and_loses_nothing(queue, room):
    rest = deque(queue)
    taken = take(rest, room, ONE_EACH)
    assert sum(item.n_scores for item in taken) == min(room, sum(i.n_scores for i in queue))
    assert cells([*taken, *rest]) == cells(queue)


@given(st.lists(items, max_size=6), st.integers(1, 200), st.integers(0, 3), st.integers(0, 50))
def test_a_draw_that_must_stay_whole_is_never_cut(queue, room, per_score, per_draw):
    cost = Cost(per_score, per_draw + (per_score == 0), whole=True)
    rest = deque(queue)
    taken = take(rest, room, cost)
    classes = {item.image: set() for item in queue}
    for item in queue:
        classes[item.image].add(item.classes)
    assert all(item.classes in classes[item.image] for item in [*taken, *rest])
    assert cells([*taken, *rest]) == cells(queue)
    # Only the last draw that is taken may be more than there is room for.
    if taken:
        assert cost.of(taken) - cost.of_draw(len(taken[-1].classes)) < max(1, room)
    assert not rest or room - cost.of(taken) < cost.least


@given(st.lists(items, max_size=6), st.integers(1, 200), st.integers(1, 3), st.integers(0, 1))
def test_takes_no_more_evaluations_than_there_is_room_for_and_leaves_no_room_for_a_score(
    queue, room, n_templates, n_null
):
    cost = Cost(n_templates, n_null)
    rest = deque(queue)
    taken = take(rest, room, cost)
    spent = sum(n_templates * item.n_scores + n_null * item.n_draws for item in taken)
    assert spent == cost.of(taken) <= room
    assert not rest or room - spent < cost.least
    assert cells([*taken, *rest]) == cells(queue)
