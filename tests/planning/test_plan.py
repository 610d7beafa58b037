"""What a scheduler that is started again finds in the output."""

import itertools

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.planning.make_plan import make_plan
from zsd_ray.records.errors import UserError
from zsd_ray.results.run_file import RunFile


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


def test_a_run_goes_on_in_its_dtype_on_other_workers(plan):
    """As one that was begun on processors, or with a GPU before `auto` was the default."""
    held = RunFile("running", {}, plan.identity, plan.identity_parts, ["0"], {}, 0, 6)
    plan.output.write_run(held)
    tree = plan.config.model_dump(mode="json", exclude={"model"})
    tree["cluster"]["gpus_per_worker"] = 1
    again = make_plan(parse_config(RunConfig, tree))
    assert again.config.model.dtype == "float32"
    assert again.identity == plan.identity
    tree["model"] = {"dtype": "bfloat16"}
    with pytest.raises(UserError, match=r"model\.dtype was .float32., now .bfloat16"):
        make_plan(parse_config(RunConfig, tree))
