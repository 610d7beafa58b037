"""A model's files are found once for a run, and hashed once."""

from collections import Counter

import pytest

import zsd_ray
from tests.support.digit_runs import configure
from zsd_ray.models.files import source


@pytest.fixture
def counted(monkeypatch):
    """How often what lists a store is called."""
    counts = Counter()

    def counting(name):
        function = getattr(source, name)

        def call(*arguments):
            counts[name] += 1
            return function(*arguments)

        monkeypatch.setattr(source, name, call)

    counting("resolve")
    counting("fingerprint")
    return counts


@pytest.mark.parametrize(
    "sections",
    [
        {"data": {"limit": 4}},
        {
            "data": {"limit": 4},
            "method": {"class_offset": {"images": 4, "draws": 12}},
        },
    ],
    ids=["plain", "with a stage before it"],
)
def test_a_local_run_finds_and_hashes_its_model_once(tmp_path, counted, sections):
    result = zsd_ray.run(configure(tmp_path / "run", **sections), local=True)
    assert result.table.num_rows == 4
    assert counted == {"resolve": 1, "fingerprint": 1}
