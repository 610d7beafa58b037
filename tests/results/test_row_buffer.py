"""Rows wait for their part, and stay until they are known to be written."""

import pytest

from zsd_ray.records.scores import Decision, RawDraw
from zsd_ray.results.rows import row_buffer
from zsd_ray.results.rows.row_buffer import RowBuffer


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def decision(number, n_raw=0):
    raw = (RawDraw(0, 0.5, 0.5, 0.5, 1.0, (0,), (1.0,)),) * n_raw
    return Decision(f"image-{number}", "", None, 0, raw=raw)


def ids(part):
    return [row.image_id for row in part.decisions]


def test_a_part_is_due_when_its_first_row_has_waited_long_enough():
    clock = Clock()
    buffer = RowBuffer(flush_seconds=10, clock=clock)
    buffer.add([decision(0)])
    clock.now = 9.9
    buffer.add([decision(1)])
    assert buffer.due() is None
    clock.now = 10.0
    assert ids(buffer.due()) == ["image-0", "image-1"]
    buffer.add([decision(2)])
    clock.now = 19.9
    assert ids(buffer.due()) == ["image-0", "image-1"]  # not written yet
    buffer.written(buffer.due())
    assert buffer.due() is None  # the new row's time began when it came
    clock.now = 20.0
    assert ids(buffer.due()) == ["image-2"]


def test_everything_is_due_at_the_end_and_a_part_keeps_its_name_until_it_is_written():
    buffer = RowBuffer(flush_seconds=1000)
    buffer.add([decision(0)])
    first = buffer.due(everything=True)
    buffer.add([decision(1)])
    assert buffer.due(everything=True) is first
    assert buffer.n_rows == 2
    buffer.written(first)
    second = buffer.due(everything=True)
    assert (ids(second), buffer.n_rows) == (["image-1"], 1)
    assert second.name != first.name
    buffer.written(second)
    assert buffer.due(everything=True) is None
    assert buffer.n_rows == 0


@pytest.mark.parametrize("rows", [
    [decision(n) for n in range(row_buffer._PART_ROWS)],
    [decision(0, row_buffer._PART_CELLS)],
])  # fmt: skip
def test_a_large_part_is_due_at_once(rows):
    buffer = RowBuffer(flush_seconds=1000)
    buffer.add(rows[:-1])
    assert buffer.due() is None
    buffer.add(rows[-1:])
    assert len(buffer.due().decisions) == len(rows)


@pytest.mark.parametrize("rows", [
    [decision(n) for n in range(row_buffer._FULL_ROWS)],
    [decision(0, row_buffer._FULL_CELLS)],
])  # fmt: skip
def test_the_buffer_is_full_until_a_part_is_written(rows):
    buffer = RowBuffer(flush_seconds=0)
    buffer.add(rows[:-1])
    assert not buffer.is_full
    buffer.add(rows[-1:])
    assert buffer.is_full
    buffer.written(buffer.due())
    assert not buffer.is_full
