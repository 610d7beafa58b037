"""What a scheduler that is started again finds in the output."""

import itertools

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zsd_ray.engine.plan import make_plan
from zsd_ray.spec.config import RunConfig, parse_config
from zsd_ray.spec.errors import UserError


@pytest.fixture
def plan(tmp_path):
    tree = {
        "data": {"limit": 6},
        "output": {"path": str(tmp_path / "run")},
        "tracking": {"mlflow": "off"},
    }
    plan = make_plan(parse_config(RunConfig, tree))
    plan.output.prepare()
    return plan


def _another_table():
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table({"image_id": ["a"]}), buffer)
    return buffer.getvalue().to_pybytes()


@pytest.mark.parametrize("content", [b"", b"not Parquet", _another_table()])
def test_a_file_that_is_no_checkpoint_is_refused_with_what_to_do(plan, content):
    plan.output.write_checkpoint(0, content)
    with pytest.raises(UserError, match=r"run/checkpoints/0\.parquet is damaged \("):
        plan.scheduler()


def test_shares_of_several_schedulers_are_all_images_once(plan):
    images = [list(plan.scheduler(shard, 4)._images) for shard in range(4)]
    assert sorted(itertools.chain(*images)) == sorted(plan.todo)
    assert max(map(len, images)) - min(map(len, images)) <= 1
