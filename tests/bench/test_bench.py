"""The benchmark counts right, and its implementations work."""

import re
from pathlib import Path

import pandas as pd
import pytest

from handwriting.bench import measurements
from handwriting.bench.figure import draw
from handwriting.bench.flops import epoch_flops, layer_flops
from handwriting.bench.implementations import Setting
from handwriting.bench.rounds import time_in_turn
from handwriting.bench.synthetic import EXPERIMENT, SWEEP, fill, identity
from handwriting.tracking import Store, names
from handwriting.tracking.resume import find_run
from handwriting.training.models import build_cnn


def test_the_work_of_the_notebooks_network_is_counted_as_by_hand() -> None:
    model = build_cnn((28, 28, 1), 10)
    by_hand = [2 * 26 * 26 * 9 * 32, 2 * 24 * 24 * 9 * 32 * 64, 2 * 9216 * 128, 2 * 128 * 10]
    assert layer_flops(model) == by_hand
    step, forward = 3 * sum(by_hand) - by_hand[0], sum(by_hand)
    assert step == pytest.approx(71.5e6, rel=0.002)
    assert epoch_flops(model, 100) == 100 * step + 10 * forward


def test_ratios_are_taken_within_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each round is twice as slow as the one before: within each, ours takes half as long."""
    seconds = pd.DataFrame({"notebook": [4.0, 8.0, 16.0], "ours": [2.0, 4.0, 8.0]})
    seconds = seconds.assign(autolog=3.0, pytorch=3.0, untracked=1.0, matmul=1.0)
    lower = 0.5 * seconds.drop(columns="pytorch").add_suffix(measurements.LOWER)
    monkeypatch.setattr(measurements, "in_bfloat16", lambda: True)
    monkeypatch.setattr(
        measurements, "time_in_turn", lambda settings, rounds: pd.concat([seconds, lower], axis=1)
    )
    found = measurements.epochs(100, 3)
    ratios = found[(found["unit"] == "ratio") & found["part"].str.endswith("adam")].set_index("what")[
        "median"
    ]
    assert ratios["notebook ÷ ours, bfloat16"] == 4.0, "plain Keras in float32 by ours in bfloat16"
    assert ratios["notebook, bfloat16 ÷ ours, bfloat16"] == 2.0
    shares = found[found["unit"] == measurements.SHARE].set_index("what")["median"]
    assert shares["untracked, bfloat16"].iloc[0] == shares["untracked"].iloc[0], "each of its own product"
    compared = found[(found["what"] == "notebook ÷ ours") & found["part"].str.endswith("adam")]
    assert compared.to_dict("records") == [
        {
            "part": "epoch of 100 images, batch 32, adam", "what": "notebook ÷ ours", "n": 3, "median": 2.0,
            "minimum": 2.0, "maximum": 2.0, "unit": "ratio",
        }
    ]  # fmt: skip


def test_a_verdict_takes_the_user_one_run_after_the_other_and_a_sweep_a_job_a_core(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Epochs of 550 images: the notebook has a hundred times as many, 10 epochs, and here six seeds."""
    asked: dict[str, list[Setting]] = {}

    def timed(settings: dict[str, list[Setting]], rounds: int) -> pd.DataFrame:
        asked.update(settings)
        return pd.DataFrame({"autolog, rmsprop": [1.0], "autolog, adam": [2.0], "ours": [2.0],
                             "ours, bfloat16": [1.0]})  # fmt: skip

    monkeypatch.setattr(measurements, "in_bfloat16", lambda: True)
    monkeypatch.setattr(measurements, "cores", lambda: 4)
    monkeypatch.setattr(measurements, "time_in_turn", timed)
    monkeypatch.setattr(measurements, "SIMULATED", 3)
    found = measurements.verdict(550, 1).set_index("what")["median"]
    assert found["autolog"] == 6 * 10 * 100 * (1 + 2) / 60
    assert found["ours"] == 12 / 4 * 10 * 100 * 2 / 60
    assert (found["autolog ÷ ours"], found["autolog ÷ ours, bfloat16"]) == (3.0, 6.0)
    assert [(job.optimizer, job.threads) for job in asked["ours"]] == [("rmsprop", 1), ("adam", 1)] * 2
    assert {job.precision for job in asked["ours, bfloat16"]} == {"mixed_bfloat16"}
    assert (
        found["a difference of 2.75 standard deviations"] < 8 < found["a difference of 0 standard deviations"]
    )


def test_the_share_of_tracking_is_that_of_a_run_of_ten_epochs() -> None:
    tracking = (*measurements.TRACKING_ONCE, *measurements.TRACKING_EACH)
    found = pd.concat(
        [
            measurements.rows(measurements.BESIDES, "s", {name: pd.Series([1.0]) for name in tracking}),
            measurements.rows("epoch of 5500 images, batch 32, adam", "s", {"untracked": pd.Series([22.0])}),
        ]
    )
    (row,) = measurements.tracking_share(found).to_dict("records")
    assert row["median"] == pytest.approx((2 + 10 * 2) / (22.0 * 10 * 10))


def test_a_projection_lies_between_two_bounds_and_is_never_better_than_a_job_a_core() -> None:
    single, both = pd.Series([1000.0, 1000.0]), pd.Series([1600.0, 2020.0])
    found = measurements.projected(single, both, 2)
    assert found["8 cores, projected, not contending"].to_list() == [8000, 8000]
    assert found["8 cores, projected, contending as here"].to_list() == [
        pytest.approx(8000 / (1 + 7 / 4)),
        8000,
    ]


def test_what_a_run_costs_is_measured_by_name(tmp_path: Path) -> None:
    found = measurements.start_up(0, rounds=1)
    assert {*measurements.TRACKING_ONCE, *measurements.TRACKING_EACH} < set(found["what"])
    assert (found["median"] > 0).all()
    parts = ("epoch of 100 images, batch 32, adam", "jobs at once, 100 images each", "10 runs in the store")
    table = [measurements.rows(part, "s", {"ours": pd.Series([1.0, 2.0])}) for part in parts]
    draw(pd.concat([found, *table]), tmp_path / "bench")
    assert (tmp_path / "bench.png").stat().st_size > 10_000


def test_an_implementation_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)exit code 1:.*KeyError: 'nobody'"):
        time_in_turn({"nobody": [Setting("nobody")]}, 1)


def test_the_notebooks_code_and_ours_take_their_turns(capsys: pytest.CaptureFixture[str]) -> None:
    implementations = ["autolog", "ours"]  # autolog is the notebook's code, and MLflow's beside it
    seconds = time_in_turn({name: [Setting(name, images=200)] for name in implementations}, 2)
    assert seconds.columns.to_list() == implementations
    assert seconds.index.to_list() == [1, 2]
    assert (seconds > 0).all(axis=None)
    turns = re.findall(r"round (\d)/2  (\w+)", capsys.readouterr().out)
    assert turns == [(number, name) for number in "12" for name in implementations]


def test_a_report_and_a_question_are_timed_in_a_store_of_made_up_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measurements, "STORED_RUNS", (4,))
    found = measurements.stored_runs(0, rounds=2)
    assert found["what"].to_list() == ["report", "is it finished?"]
    assert found["n"].to_list() == [2, 2]
    assert (found["median"] > 0).all()


def test_made_up_runs_are_like_real_ones_and_say_that_they_are_not(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/mlflow.db")
    fill(store, 3)
    with find_run(store, EXPERIMENT, identity(1)) as found:
        assert found.finished
        assert found.run is not None
    tags, params = found.run.data.tags, found.run.data.params
    assert (tags["synthetic"], tags[names.SWEEP], tags[names.ARM]) == ("true", SWEEP, "1")
    assert {names.CODE, names.SETTING, names.DATA, names.COMMIT} < set(tags)
    assert (params["optimizer"], params["seed"]) == ("adam", "0")
    with find_run(store, EXPERIMENT, identity(3)) as found:
        assert found.run is None
