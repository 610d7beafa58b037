"""A record table is the list of its records, and small."""

import pickle

import pytest

from zsd_ray.data.record_table import RecordTable
from zsd_ray.records.scores import ImageRecord

IDS = [f"cat/{n}.png" for n in range(5000)]
LABELS = [None if n % 7 == 0 else n % 10 for n in range(5000)]
RECORDS = [ImageRecord(i, f"/data/{i}", label) for i, label in zip(IDS, LABELS, strict=True)]


@pytest.fixture
def table():
    return RecordTable(IDS, [f"/data/{i}" for i in IDS], LABELS)


def test_it_is_the_list_of_its_records(table):
    assert len(table) == 5000
    assert list(table) == RECORDS
    assert table[4321] == RECORDS[4321]
    assert table[-1] == RECORDS[-1]
    assert table[10:13] == RECORDS[10:13]
    with pytest.raises(IndexError):
        table[5000]
    assert not RecordTable([], [], [])


def test_labels_are_replaced(table):
    other = table.relabelled(label and label + 1 for label in LABELS)
    assert [record.label for record in other] == [label and label + 1 for label in LABELS]
    assert [record.image_id for record in other] == IDS


def test_numbers_of_ids(table):
    assert table.numbers_of(["cat/7.png", "dog/1.png", "cat/0.png"]).tolist() == [7, -1, 0]
    assert table.numbers_of([]).tolist() == []


def test_its_columns_travel_out_of_band(table):
    """So that Ray puts them into shared memory once, and no process has its own."""
    buffers = []
    rest = pickle.dumps(table, protocol=5, buffer_callback=buffers.append)
    assert len(rest) < 2000
    again = pickle.loads(rest, buffers=buffers)  # noqa: S301 - our own
    assert again[:3] == RECORDS[:3]
