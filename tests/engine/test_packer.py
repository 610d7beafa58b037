from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from zsd_ray.engine.packer import take
from zsd_ray.spec.records import WorkItem

items = st.builds(
    WorkItem,
    image=st.integers(0, 3),
    first_draw=st.integers(0, 50),
    n_draws=st.integers(1, 8),
    classes=st.sets(st.integers(0, 30), min_size=1, max_size=12).map(lambda s: tuple(sorted(s))),
)


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
    taken = take(rest, room)
    assert sum(item.n_scores for item in taken) == min(room, sum(i.n_scores for i in queue))
    assert cells([*taken, *rest]) == cells(queue)
