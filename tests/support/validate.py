"""What must hold in a scheduler between any two events."""


def validate(scheduler):
    """Assert what must hold between events."""
    assert set(scheduler._open).isdisjoint(scheduler._images[scheduler._next :])
    pool = scheduler._workers
    workers = pool._workers
    free = {name for name, w in workers.items() if w.requests and not w.aside}
    assert set(pool._waiting) == free
    assert set(pool._idle) == {name for name in free if not workers[name].in_flight}
    assert all(worker.in_flight for worker in workers.values() if worker.aside)
    trials = {i.trial for i in scheduler._open.values() if i.trial is not None}
    for worker in workers.values():
        if trials & set(worker.in_flight):
            (micro_batch,) = worker.in_flight.values()
            assert len({item.image for item in micro_batch.items}) == 1
    if free:
        stuck = [i for i in scheduler._open.values() if i.queue and not i.strikes]
        assert not stuck, "work waits for a request"
    proven = [name for name in pool.idle if workers[name].rows_per_second]
    assert not (proven and scheduler._suspects), "a suspect waits for a worker that is idle"
    queued = sum(item.n_scores for image in scheduler._open.values() for item in image.queue)
    assert scheduler._backlog.n_scores == queued
    flying = {number: [] for number in scheduler._open}
    for worker in workers.values():
        for micro_batch in worker.in_flight.values():
            for item in micro_batch.items:
                flying.get(item.image, []).append(item)
    for number, image in scheduler._open.items():
        _validate_image(image, flying[number])
        if image.queue and image.strikes:
            assert image.trial is not None or number in scheduler._suspects
        elif image.queue:
            assert scheduler._queues.holds(image), "nobody will find it"


def _validate_image(image, flying):
    elimination = image.elimination
    assert elimination.outcome is None
    assert image.in_flight == sum(item.n_scores for item in flying), "in-flight count is off"
    cells = set()
    for item in [*flying, *image.queue]:
        for draw in range(item.first_draw, item.first_draw + item.n_draws):
            for class_ in item.classes:
                assert (draw, class_) not in cells, "a score is on its way twice"
                cells.add((draw, class_))
    wanted = wanted_cells(elimination)
    assert len(wanted) == elimination.missing > 0
    assert wanted <= cells, "a wanted score is neither queued nor in flight"


def wanted_cells(elimination):
    """Each (draw, class) that the next look waits for."""
    return {
        (draw, class_)
        for first, n, classes in elimination.wanted()
        for draw in range(first, first + n)
        for class_ in classes
    }
