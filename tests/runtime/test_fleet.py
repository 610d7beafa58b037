"""Prompts that cannot be encoded, or not in time; several schedulers; calls that overtake."""

import asyncio
import dataclasses
import time
from pathlib import Path

import pytest
import ray

import zsd_ray
from tests.support.digit_runs import MEANS, numbers
from tests.support.digit_runs import configure as built_in
from tests.support.processes import SECONDS
from zsd_ray.planning.make_plan import make_plan
from zsd_ray.records.errors import RunBrokenError, UserError
from zsd_ray.runtime import driver, model_worker
from zsd_ray.runtime.driver import run_on_ray
from zsd_ray.runtime.fleet import Fleet

pytestmark = pytest.mark.usefixtures("a_plain_report")


def configure(path, **sections):
    return built_in(path, **{**MEANS, **sections})


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    return numbers(zsd_ray.run(configure(tmp_path_factory.mktemp("quiet")), local=True).table)


class Unloadable(list):
    """Prompts over which a worker fails as it receives them."""

    def __reduce__(self):
        def fail():
            raise RuntimeError("CUDA out of memory")

        return fail, ()


class SlowOnce(list):
    """Prompts over which the first worker that receives them hangs."""

    def __init__(self, prompts, mark):
        super().__init__(prompts)
        self.mark = mark

    def __reduce__(self):
        def load(prompts, mark):
            if not Path(mark).exists():
                Path(mark).touch()
                time.sleep(600)
            return prompts

        return load, (list(self), self.mark)


@pytest.fixture
def run_with(monkeypatch):
    """Run a plan whose workers are sent other prompts; returns the warnings, also if it breaks."""

    def run(plan, prompts):
        def fleet(plan, *rest):
            return Fleet(dataclasses.replace(plan, prompts=prompts), *rest)

        monkeypatch.setattr(driver, "Fleet", fleet)
        run_on_ray(plan, lambda counters, n: None, warnings.append)
        return warnings

    warnings = run.warnings = []
    return run


def test_prompts_that_cannot_be_encoded_end_the_run_with_their_reason(
    local_ray, run_with, tmp_path
):
    plan = make_plan(configure(tmp_path, cluster={"workers": 1}))
    with pytest.raises(RunBrokenError, match=r"every worker is lost .*CUDA out of memory"):
        run_with(plan, Unloadable(plan.prompts))
    warnings = run_with.warnings
    assert len(warnings) == 3
    assert all("CUDA out of memory" in warning for warning in warnings)


def test_a_worker_that_hangs_over_the_prompts_is_replaced(local_ray, quiet, run_with, tmp_path):
    plan = make_plan(configure(tmp_path, cluster={"workers": 1, "hang_seconds": 1}))
    warnings = run_with(plan, SlowOnce(plan.prompts, str(tmp_path / "mark")))
    # Once or, where the machine is so busy that the next one is late as well, more often.
    assert {warning.partition(" ")[2] for warning in warnings} == {"is lost (it does not answer)"}
    assert numbers(plan.output.read_table("decisions")) == quiet


def test_several_schedulers_share_the_images_and_decide_as_one(
    local_ray, quiet, tmp_path, monkeypatch
):
    monkeypatch.setattr(driver, "WORKERS_PER_SCHEDULER", 1)
    started = []
    actor = driver.SchedulerActor

    class Counted:
        def options(self, **options):
            made = actor.options(**options)

            class Made:
                def remote(self, shared, shard, n_shards):
                    started.append((shard, n_shards))
                    return made.remote(shared, shard, n_shards)

            return Made()

    monkeypatch.setattr(driver, "SchedulerActor", Counted())
    result = zsd_ray.run(configure(tmp_path, cluster={"workers": 2}))
    assert started == [(0, 2), (1, 2)]
    assert numbers(result.table) == quiet
    assert result.metrics["n_scored"] >= sum(row["n_evaluations"] for row in quiet.values())


def test_a_scheduler_that_never_answers_ends_the_run(local_ray, tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "_SILENT_SECONDS", 3.0)
    monkeypatch.setattr(driver, "_LAST_SECONDS", 1.0)

    @ray.remote(num_cpus=0)
    class Mute:
        def __init__(self, shared, shard, n_shards):
            time.sleep(600)

        def progress(self):
            pass

        def lose(self, worker, blame):
            pass

        def exchange(self, *call):
            pass

        def drain(self):
            pass

    monkeypatch.setattr(driver, "SchedulerActor", Mute)
    config = configure(tmp_path, storage={"retry_seconds": 1})
    with pytest.raises(RunBrokenError, match="a scheduler is silent for 3 s"):
        run_on_ray(make_plan(config), lambda counters, n: None, lambda warning: None)


def test_calls_of_a_worker_may_overtake_each_other(local_ray, tmp_path):
    """The second request is answered, and the first only once its scores are in."""

    @ray.remote(num_cpus=0)
    class Late:
        """Answers as a scheduler that heard the second call first, which put the worker aside."""

        def __init__(self, micro_batch):
            self.micro_batch = micro_batch
            self.scored = asyncio.Event()

        async def exchange(self, worker, batch_size, scores, number):
            if scores is not None:
                assert scores.id == self.micro_batch.id
                self.scored.set()
                return None
            if number == 1:
                return self.micro_batch
            await self.scored.wait()
            return None

    plan = make_plan(configure(tmp_path))
    worker = model_worker.ModelWorker.remote(plan.config, plan.model.fingerprint)
    ray.get(worker.ready.remote())
    conditioning, _ = ray.get(worker.encode_prompts.remote(plan.prompts, plan.dataset, []))
    ray.get(worker.bind.remote(plan.dataset, conditioning, plan.classes.names))
    item = zsd_ray.records.scores.WorkItem(0, 0, 2, (0, 1))
    late = Late.remote(zsd_ray.records.scores.MicroBatch(7, (item,)))
    done = worker.run.remote("w", [late])
    try:
        assert ray.get(done, timeout=SECONDS) is None
    finally:
        ray.kill(worker)
        ray.kill(late)


def test_what_workers_warn_of_reaches_the_user_once(local_ray, tmp_path):
    long = "a photo of the digit {}, " + "drawn by hand with a pen, " * 9
    config = built_in(tmp_path, prompts={"templates": [long]}, cluster={"workers": 2})
    warnings = []
    zsd_ray.run(config, on_warning=warnings.append)
    (cut,) = warnings
    assert "prompts are cut to the 16 tokens of this text encoder" in cut


def test_what_every_worker_would_refuse_ends_the_run_at_once(local_ray, tmp_path, monkeypatch):
    plan = make_plan(configure(tmp_path, cluster={"workers": 2}))
    other = dataclasses.replace(plan, model=dataclasses.replace(plan.model))
    vars(other.model)["fingerprint"] = "of other files"  # as if it were known
    with pytest.raises(UserError, match="has other files here than at the driver"):
        run_on_ray(other, lambda counters, n: None, lambda warning: None)
