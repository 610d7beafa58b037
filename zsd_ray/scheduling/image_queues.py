"""Which open images have work to hand out, and which only wait for answers."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Mapping

from zsd_ray.records.cost import Cost
from zsd_ray.records.scores import WorkItem
from zsd_ray.scheduling.open_image import OpenImage

_TRIES = 4


class ImageQueues:
    """Heaps of image numbers: one for each owner, one (None) for images without.

    An entry may be stale, its image decided or emptied by another worker: it is dropped when met.
    So everything here takes constant time, or the heap's logarithm, for each entry.

    Args:
        images: the open images by number; the caller adds and removes them.
        cost: of their work; room is in evaluations.
    """

    def __init__(self, images: Mapping[int, OpenImage], cost: Cost) -> None:
        self._images = images
        self._cost = cost
        self._heaps: dict[str | None, list[int]] = {}  # none of them is empty
        self._listed: dict[int, str | None] = {}  # the owner it is listed under, if any
        self._emptied: dict[int, None] = {}  # may be guessed ahead of their next look

    def __bool__(self) -> bool:
        """Return whether anything may be queued."""
        return bool(self._heaps)

    def __len__(self) -> int:
        """Return the number of images; a few may be stale."""
        return len(self._listed)

    @property
    def can_guess(self) -> bool:
        """Return whether there may be draws beyond the next look to hand out."""
        return bool(self._emptied)

    def add(self, image: OpenImage) -> None:
        """List an image, so that its owner will find its queued work."""
        if image.queue:
            self._list(image.number, image.owner)
        else:
            self._emptied[image.number] = None

    def take(self, owner: str | None, room: int) -> list[WorkItem]:
        """Take up to `room` of the work on an owner's images, lowest number first."""
        items: list[WorkItem] = []
        while room >= self._cost.least and (image := self._first(owner)) is not None:
            taken = image.take(room)
            items += taken
            room -= self._cost.of(taken)
            if not image.queue:
                self._emptied[image.number] = None
        return items

    def steal(self, room: int) -> list[WorkItem]:
        """Take up to `room` of the work on any owner's images, the longest-listed owner first."""
        items: list[WorkItem] = []
        while self._heaps and room >= self._cost.least:
            taken = self.take(next(iter(self._heaps)), room)
            items += taken
            room -= self._cost.of(taken)
        return items

    def guess(self, room: int) -> list[WorkItem]:
        """Take draws beyond the next look, of images with nothing queued."""
        items: list[WorkItem] = []
        in_vain = 0
        for number in list(itertools.islice(self._emptied, max(0, room // self._cost.least))):
            image = self._images.get(number)
            more, taken = False, []
            if image is not None and not image.queue and not image.strikes:
                more = image.look_ahead(room)
                taken = image.take(room)
                items += taken
                room -= self._cost.of(taken)
            if not more:
                del self._emptied[number]  # until it is listed again
            in_vain += more and not taken  # its next whole draw exceeds the room
            if room < self._cost.least or in_vain == _TRIES:
                break
        return items

    def adopt(self, owner: str) -> OpenImage | None:
        """Give the first image without an owner to `owner`."""
        image = self._first(None)
        if image is not None:
            self._pop(None)
            image.owner = owner
            self.add(image)
        return image

    def disown(self, owner: str) -> None:
        """Make an owner's images available to any worker."""
        for number in self._heaps.pop(owner, ()):
            image = self._images.get(number)
            if self._listed.get(number) == owner:
                del self._listed[number]
            if image is not None and image.owner == owner:
                image.owner = None
                self._list(number, None)

    def validate(self, images: Iterable[OpenImage]) -> None:
        """Check the invariants of all listed images between events, and that images are found.

        Args:
            images: some of the open ones.

        Raises:
            AssertionError: an invariant is broken.
        """
        listed = {owner: set(heap) for owner, heap in self._heaps.items()}
        assert all(listed.values()), "an owner has an empty heap"
        for number, owner in self._listed.items():
            assert number in listed.get(owner, ()), f"image {number} is listed in no heap"
        for image in images:
            if image.queue and not image.strikes:
                found = image.number in listed.get(image.owner, ())
                assert found, f"nobody will find the queue of image {image.number}"

    def _first(self, owner: str | None) -> OpenImage | None:
        while (heap := self._heaps.get(owner)) is not None:
            image = self._images.get(heap[0])
            if image is not None and image.queue and image.owner == owner and not image.strikes:
                return image
            self._pop(owner)
        return None

    def _pop(self, owner: str | None) -> None:
        heap = self._heaps[owner]
        number = heapq.heappop(heap)
        if number in self._listed and self._listed[number] == owner:
            del self._listed[number]
        if not heap:
            del self._heaps[owner]

    def _list(self, number: int, owner: str | None) -> None:
        if number not in self._listed or self._listed[number] != owner:
            self._listed[number] = owner
            heapq.heappush(self._heaps.setdefault(owner, []), number)
