"""The counting of a sweep's jobs and epochs, and the time that is left."""

import pytest
from hydra.core.override_parser.types import Quote, QuotedString

from handwriting.launching.progress import Epoch, Progress, called, duration, label_and_seed

QUOTED = QuotedString("it's \\ {a: 5 %, b}=\\", Quote.single)


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("handwriting.launching.progress.time.monotonic", clock)
    return clock


def begun(progress: Progress, *jobs: int) -> None:
    for job in jobs:
        progress.begin(job, [f"seed={job}", "tracking.label='adam'"])


def epoch(number: int, of: int = 10, seconds: float = 2) -> Epoch:
    return Epoch(number, of, seconds, val_accuracy=0.9)


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["seed=3", "tracking.sweep='x'", f"tracking.label={QUOTED.with_quotes()}"], (QUOTED.text, "3")),
        (["batch_size=7", "tracking.label='large, rate 0.1'"], ("large, rate 0.1", "")),
        (["optimizer=adam", "seed=0", "~metrics", "tracking.arm=1"], ("optimizer=adam ~metrics", "0")),
    ],
)  # fmt: skip
def test_a_job_is_called_by_its_arm_and_seed_and_without_an_arm_by_its_settings(
    overrides: list[str], name: tuple[str, str]
) -> None:
    assert label_and_seed(overrides) == name
    assert called(overrides) == " seed ".join(filter(None, name))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (99.4, "99 s"), (99.6, "1.7 min"), (596, "9.9 min"), (599, "10 min"), (5969, "99 min"),
     (5971, "1.7 h"), (360_000, "100 h")],
)  # fmt: skip
def test_a_duration_is_said_in_the_unit_that_people_use(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_before_the_first_epoch_is_done_nobody_knows_how_much_time_is_left(clock: Clock) -> None:
    progress = Progress(2, 1)
    begun(progress, 0)
    clock.now = 50
    assert progress.left() is None
    assert str(progress) == "0 of 2 done, 1 running, 50 s"


def test_what_is_left_goes_by_the_epochs_still_to_do_and_their_rate_in_this_sweep(clock: Clock) -> None:
    progress = Progress(6, 2)
    clock.now = 100  # imports, which come once
    begun(progress, 0, 1)
    progress.end(0, failed=False)  # finished before: it counts as done, and tells nothing of the rate
    begun(progress, 2)
    clock.now = 102
    progress.epoch(1, epoch(1))
    progress.epoch(2, epoch(1, of=20))
    clock.now = 104
    progress.epoch(1, epoch(2))
    progress.epoch(2, epoch(2, of=20))
    # 4 epochs in 4 s. 8 + 18 are left of the running jobs, and 15 of each that waits: the mean of 10 and 20.
    assert progress.left() == pytest.approx(8 + 18 + 3 * 15)
    clock.now += 5
    assert progress.left() == pytest.approx(8 + 18 + 3 * 15 - 5)
    assert str(progress) == "1 of 6 done, 2 running, 1.8 min, about 66 s left"


def test_an_epoch_that_an_earlier_process_did_counts_as_done_and_not_in_the_rate(clock: Clock) -> None:
    progress = Progress(1, 1)
    begun(progress, 0)
    clock.now = 10
    progress.epoch(0, epoch(8))
    assert progress.left() == pytest.approx(2 * 2)


def test_at_the_end_of_a_sweep_fewer_jobs_run_at_once_and_each_takes_as_long(clock: Clock) -> None:
    progress = Progress(2, 2)
    begun(progress, 0, 1)
    clock.now = 2
    progress.epoch(0, epoch(1, of=1))
    progress.epoch(1, epoch(1))
    assert progress.left() == pytest.approx(9 * 1)
    progress.end(0, failed=False)
    assert progress.left() == pytest.approx(9 * 2), "a lone job does not use the other's core"


def test_a_job_that_was_stopped_early_or_failed_has_nothing_left(clock: Clock) -> None:
    progress = Progress(3, 1)
    begun(progress, 0)
    clock.now = 2
    progress.epoch(0, epoch(1))
    clock.now = 4
    progress.epoch(0, epoch(2))
    progress.end(0, failed=True)
    begun(progress, 1)
    assert progress.left() == pytest.approx((2 + 2) * 2), "the others are taken to have as many epochs"
    assert str(progress) == "0 of 3 done, 1 failed, 1 running, 4 s, about 8 s left"


def test_a_job_that_trains_first_the_run_it_starts_from_has_the_epochs_of_both(clock: Clock) -> None:
    progress = Progress(1, 1)
    begun(progress, 0)
    for number in (1, 2, 1):
        clock.now += 2
        progress.epoch(0, epoch(number, of=2))
    assert (progress.running[0].done, progress.running[0].all) == (3, 4)
    assert progress.left() == pytest.approx(2)


def test_when_all_jobs_have_ended_nothing_is_left(clock: Clock) -> None:
    progress = Progress(1, 1)
    begun(progress, 0)
    clock.now = 2
    progress.epoch(0, epoch(10))
    progress.end(0, failed=False)
    assert progress.left() == 0
    assert str(progress) == "1 of 1 done, 2 s"
