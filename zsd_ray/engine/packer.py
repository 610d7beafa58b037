"""Cuts work items so that a micro-batch is filled to the last score."""

from __future__ import annotations

from collections import deque

from zsd_ray.spec.records import WorkItem


def take(queue: deque[WorkItem], room: int) -> list[WorkItem]:
    """Take up to `room` scores from the front of `queue`; what is cut off stays in front.

    An item is cut between draws where a whole draw fits, else within one draw, between classes.
    """
    taken: list[WorkItem] = []
    while queue and room > 0:
        item = queue.popleft()
        if item.n_scores > room:
            item, rest = _cut(item, room)
            queue.extendleft(reversed(rest))
        taken.append(item)
        room -= item.n_scores
    return taken


def _cut(item: WorkItem, room: int) -> tuple[WorkItem, list[WorkItem]]:
    image, first, n_draws, classes = item.image, item.first_draw, item.n_draws, item.classes
    whole = room // len(classes)
    if whole:
        rest = [WorkItem(image, first + whole, n_draws - whole, classes)]
        return WorkItem(image, first, whole, classes), rest
    rest = [WorkItem(image, first, 1, classes[room:])]
    if n_draws > 1:
        rest.append(WorkItem(image, first + 1, n_draws - 1, classes))
    return WorkItem(image, first, 1, classes[:room]), rest
