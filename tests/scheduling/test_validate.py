"""Each thing that `Scheduler.validate` promises to check is checked: broken, it is said."""

import numpy as np
import pytest

from tests.scheduling.test_scheduler import RULE, make_scheduler
from tests.support.pools import Pool
from tests.support.simulated_cluster import Cluster
from zsd_ray.records.scores import MicroBatch, WorkItem


@pytest.fixture(params=range(3))
def scheduler(request):
    """In the middle of a history: two workers are busy, some classes are out, work is queued."""
    pool = Pool(8, 12, RULE.max_scores, seed=request.param)
    cluster = Cluster(make_scheduler(pool), pool, batch_size=20)
    for worker in ("one", "other"):
        cluster.join(worker)
        cluster.request(worker)
        cluster.request(worker)
    rng = np.random.default_rng(request.param)
    for _ in range(6):
        worker = ("one", "other")[rng.integers(2)]
        cluster.answer(worker, 0)
        cluster.request(worker)
    assert not cluster.scheduler.finished
    return cluster.scheduler


def queued(scheduler):
    """An open image with something in its queue."""
    return next(image for image in scheduler._open.values() if image.queue)


def flying(scheduler):
    """An open image with something in flight."""
    return next(image for image in scheduler._open.values() if image.in_flight)


def lose_a_queued_item(scheduler):
    image = queued(scheduler)
    lost = image.queue.pop()
    image._n_queued -= lost.n_scores
    scheduler._backlog.n_scores -= lost.n_scores


def count_the_backlog_twice(scheduler):
    scheduler._backlog.n_scores *= 2


def count_a_queue_wrongly(scheduler):
    queued(scheduler)._n_queued += 1
    scheduler._backlog.n_scores += 1


def queue_an_item_twice(scheduler):
    image = queued(scheduler)
    image.queue.append(image.queue[-1])
    image._count()


def forget_what_is_in_flight(scheduler):
    flying(scheduler).in_flight = 0


def exchange_what_is_in_flight(scheduler):
    one, *others = scheduler._open.values()
    one.in_flight, others[0].in_flight = one.in_flight + 1, others[0].in_flight - 1


def lose_an_image(scheduler):
    image = queued(scheduler)
    del scheduler._open[image.number]


def open_an_image_twice(scheduler):
    scheduler._images = [*scheduler._images, next(iter(scheduler._open))]


def hide_an_image(scheduler):
    scheduler._queues._heaps.clear()
    scheduler._queues._listed.clear()


def list_an_image_in_no_heap(scheduler):
    scheduler._queues._listed[10**6] = None


def leave_an_empty_heap(scheduler):
    scheduler._queues._heaps["gone"] = []


def forget_that_a_worker_waits(scheduler):
    scheduler._workers["one"].requests += 1


def call_a_busy_worker_idle(scheduler):
    scheduler._workers._idle["one"] = None


def answer_a_request_twice(scheduler):
    scheduler._workers["one"].requests -= 1


def keep_a_worker_aside_for_nothing(scheduler):
    scheduler._workers.join("third", 8)
    scheduler._workers["third"].aside = True


def give_two_workers_one_micro_batch(scheduler):
    workers = scheduler._workers
    workers["other"].in_flight.update(workers["one"].in_flight)


def give_a_micro_batch_two_ids(scheduler):
    in_flight = scheduler._workers["one"].in_flight
    id_ = next(iter(in_flight))
    in_flight[id_] = MicroBatch(id_ + 1000, in_flight[id_].items)


def double_the_speed(scheduler):
    scheduler._workers.speed *= 2


def let_a_worker_wait_beside_work(scheduler):
    scheduler._workers.join("third", 8)
    scheduler._workers.request("third")


def miscount_what_is_missing(scheduler):
    flying(scheduler).elimination.missing += 1


def lose_a_seen_score(scheduler):
    for image in scheduler._open.values():
        image.elimination._errors[:, 0] = np.nan
        image.elimination.n_draws = max(1, image.elimination.n_draws)


def know_a_score_of_later(scheduler):
    elimination = flying(scheduler).elimination
    elimination._reserve(elimination._known + 5)
    elimination._errors[elimination._known + 4] = 1.0


def look_behind(scheduler):
    elimination = flying(scheduler).elimination
    elimination.n_draws = elimination.target


def mix_up_the_classes(scheduler):
    elimination = flying(scheduler).elimination
    elimination.classes = elimination.classes[1:]


def mix_up_the_survivors(scheduler):
    elimination = flying(scheduler).elimination
    elimination.survivors = elimination.survivors[::-1].copy()


def shrink_the_errors(scheduler):
    elimination = flying(scheduler).elimination
    elimination._errors = elimination._errors[:, 1:]


def keep_a_decided_image_open(scheduler):
    flying(scheduler).elimination.outcome = object()


def suspect_an_image_twice(scheduler):
    scheduler._suspects.extend([1, 1])


def let_a_suspect_wait_for_an_idle_worker(scheduler):
    for image in scheduler._open.values():
        if image.queue:
            image.strikes = 1
            scheduler._suspects.append(image.number)
    workers = scheduler._workers
    workers.join("third", 8)
    workers["third"].rows_per_second = 5.0
    workers.speed += 5.0
    workers.request("third")


def forget_a_suspect(scheduler):
    queued(scheduler).strikes = 1


def lose_a_trial(scheduler):
    flying(scheduler).trial = 10**6


def send_company_with_a_suspect(scheduler):
    worker = scheduler._workers["one"]
    id_, micro_batch = next(iter(worker.in_flight.items()))
    company = WorkItem(10**6, 0, 1, (0,))
    worker.in_flight[id_] = MicroBatch(id_, (*micro_batch.items, company))
    image = next(i for i in (item.image for item in micro_batch.items) if i in scheduler._open)
    scheduler._open[image].trial = id_


BROKEN = {
    lose_a_queued_item: "neither queued nor in flight",
    count_the_backlog_twice: "in the backlog instead of",
    count_a_queue_wrongly: "queued instead of",
    queue_an_item_twice: "on its way twice",
    forget_what_is_in_flight: "scores in flight instead of",
    exchange_what_is_in_flight: "in flight instead of",
    lose_an_image: "are open or decided",
    open_an_image_twice: "opened twice",
    hide_an_image: "nobody will find",
    list_an_image_in_no_heap: "listed in no heap",
    leave_an_empty_heap: "an empty heap",
    forget_that_a_worker_waits: "other workers wait",
    call_a_busy_worker_idle: "other workers are idle",
    answer_a_request_twice: "a request answered twice",
    keep_a_worker_aside_for_nothing: "kept aside for nothing",
    give_two_workers_one_micro_batch: "a micro-batch is with two workers",
    give_a_micro_batch_two_ids: "two ids",
    double_the_speed: "rows a second instead of",
    let_a_worker_wait_beside_work: "a worker waits, and",
    miscount_what_is_missing: "missing instead of",
    lose_a_seen_score: "scores that are not there",
    know_a_score_of_later: "known behind the last",
    look_behind: "the next look is not ahead",
    mix_up_the_classes: "the classes are not the survivors",
    mix_up_the_survivors: "not in order",
    shrink_the_errors: "of other classes or draws",
    keep_a_decided_image_open: "it is decided",
    suspect_an_image_twice: "a suspect is listed twice",
    let_a_suspect_wait_for_an_idle_worker: "a worker that is idle",
    forget_a_suspect: "nobody will try image",
    lose_a_trial: "is with no worker",
    send_company_with_a_suspect: "not alone in its trial",
}


@pytest.mark.parametrize("break_it", BROKEN, ids=lambda break_it: break_it.__name__)
def test_a_broken_state_is_said(scheduler, break_it):
    scheduler.validate()
    break_it(scheduler)
    with pytest.raises(AssertionError, match=BROKEN[break_it]):
        scheduler.validate()


@pytest.mark.parametrize("break_it", [lose_a_queued_item, miscount_what_is_missing])
def test_a_broken_image_is_seen_when_it_is_looked_at(scheduler, break_it):
    image = (queued if break_it is lose_a_queued_item else flying)(scheduler).number
    break_it(scheduler)
    scheduler.validate(set(scheduler._open) - {image})
    with pytest.raises(AssertionError, match=f"image {image}:"):
        scheduler.validate({image, 10**6})


@pytest.mark.parametrize("break_it", [count_the_backlog_twice, forget_what_is_in_flight])
def test_totals_are_checked_whatever_is_looked_at(scheduler, break_it):
    break_it(scheduler)
    with pytest.raises(AssertionError, match="instead of"):
        scheduler.validate(())
