from zsd_ray.results.progress import Before, ProgressMeter


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def read(meter, **counters):
    names = ("decided", "errors", "labelled", "correct", "n_scored")
    zero = dict.fromkeys(names, 0) | {"n_workers": 2}
    return meter.read(**(zero | counters))


def test_rates_are_those_of_the_last_seconds():
    clock = Clock()
    meter = ProgressMeter(100, Before(), clock)
    clock.now += 5
    first = read(meter)
    assert first.seconds_left is None
    assert meter.seconds_to_first_score is None
    clock.now += 3
    read(meter, n_scored=100)
    assert meter.seconds_to_first_score == 8
    for second in range(1, 31):  # slow at first, then 50 evaluations and 1 image a second
        clock.now += 1
        progress = read(meter, n_scored=100 + 50 * second, decided=second)
    assert progress.evaluations_per_second == 50
    assert progress.images_per_second == 1
    assert progress.seconds_left == 70


def test_an_earlier_session_counts_for_images_and_not_for_rates():
    clock = Clock()
    meter = ProgressMeter(10, Before(n_decided=6, n_errors=1, n_labelled=5, n_correct=4), clock)
    clock.now += 1
    progress = read(meter, decided=4, labelled=4, correct=4, n_scored=40)
    assert progress.n_decided == 10
    assert progress.accuracy == 8 / 9
    assert progress.interval.low < 8 / 9 < progress.interval.high
    assert progress.seconds_left == 0


def test_without_labels_there_is_no_accuracy():
    assert read(ProgressMeter(3, Before(), Clock())).accuracy is None


def test_counters_that_go_back_leave_rates_that_are_no_less_than_zero():
    """A scheduler that is started again goes on from its last checkpoint."""
    clock = Clock()
    meter = ProgressMeter(100, Before(), clock)
    counts = [(100, 10), (200, 20), (150, 18), (150, 18), (250, 28), (350, 38)]
    rates = []
    for scored, decided in counts:
        clock.now += 1
        progress = read(meter, n_scored=scored, decided=decided)
        rates.append((progress.evaluations_per_second, progress.images_per_second))
    assert progress.n_decided == 38  # counts are the scheduler's, also when they go back
    # After 5 s: up by 100 three times and back once.
    assert rates == [(0, 0), (100, 10), (50, 5), (100 / 3, 10 / 3), (50, 5), (60, 6)]
    assert progress.seconds_left == (100 - 38) / 6
