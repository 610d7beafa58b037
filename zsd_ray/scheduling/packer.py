"""Cuts work items so that a micro-batch is filled to the last evaluation that fits."""

from __future__ import annotations

from collections import deque

from zsd_ray.records.cost import Cost
from zsd_ray.records.scores import WorkItem


def take(queue: deque[WorkItem], room: int, cost: Cost) -> list[WorkItem]:
    """Take up to `room` evaluations from the front of `queue`; a cut item's rest stays in front.

    An item is cut between draws if a whole draw fits, else within one draw, between classes; a draw
    that must stay whole is taken even if it exceeds the room.
    """
    taken: list[WorkItem] = []
    while queue and room >= cost.least:
        item = queue.popleft()
        price = cost.of_item(item)
        if price > room:
            item, rest = _cut(item, room, cost)
            queue.extendleft(reversed(rest))
            price = cost.of_item(item)
        taken.append(item)
        room -= price
    return taken


def _cut(item: WorkItem, room: int, cost: Cost) -> tuple[WorkItem, list[WorkItem]]:
    image, first, n_draws, classes = item.image, item.first_draw, item.n_draws, item.classes
    whole = room // cost.of_draw(len(classes))
    if cost.whole:
        whole = max(1, whole)
        if whole >= n_draws:
            return item, []
    if whole:
        rest = [WorkItem(image, first + whole, n_draws - whole, classes)]
        return WorkItem(image, first, whole, classes), rest
    some = (room - cost.per_draw) // cost.per_score
    rest = [WorkItem(image, first, 1, classes[some:])]
    if n_draws > 1:
        rest.append(WorkItem(image, first + 1, n_draws - 1, classes))
    return WorkItem(image, first, 1, classes[:some]), rest
