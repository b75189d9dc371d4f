"""Which runs are compared: what is an arm, what is left out and why, and what is refused."""

import re

import numpy as np
import pandas as pd
import pytest
from made_runs import ADAM, compared, epochs_of, reasons, run, said, sweep

from handwriting.compare import compare, sentence, tables
from handwriting.errors import UserError

LEARNING_RATE = "params.optimizer.learning_rate"


def message_of(runs: list[dict[str, object]], **arguments: object) -> str:
    """Return the one line with which a comparison is refused."""
    with pytest.raises(UserError) as error:
        compared(runs, **arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


# Arms


def test_a_group_of_which_one_member_has_a_setting_of_its_own_is_compared() -> None:
    """As schedule=one_cycle has a warmup, and schedule=constant has none."""
    members = {"constant": {}, "one_cycle": {"params.schedule.warmup": "0.2"}}
    runs = [
        run("adam", seed, 0.9 + 0.01 * (name == "constant"), params__schedule=name)
        | {"params.schedule._target_": f"handwriting.schedules.{name}"} | own
        for seed in range(7) for name, own in members.items()
    ]  # fmt: skip
    for result in (compared(runs), compared(runs, by=["schedule"])):
        assert list(result.arms.index) == ["constant", "one_cycle"]
        assert result.pairs["n"].to_list() == [7]
        assert result.left_out.empty


@pytest.mark.parametrize("by", [None, ["batch_size"]])
def test_numbers_are_arms_in_order_of_size(by: list[str] | None) -> None:
    runs = [run("adam", s, 0.98, params__batch_size=b) for s in range(3) for b in ("128", "32", "64")]
    result = compared(runs, by=by)
    assert list(result.arms.index) == ["batch_size 32", "batch_size 64", "batch_size 128"]


def test_arms_stand_in_the_sweeps_order_and_those_without_one_after_them() -> None:
    places = {"128": ("5", "0"), "32": ("1", "1"), "64": (None, "2"), "16": (None, None), "8": (None, None)}
    runs = [
        run("adam", seed, 0.98, params__batch_size=size, tags__arm=place)
        for size, own in places.items()
        for seed, place in enumerate(own)
    ]
    result = compared(runs)
    assert list(result.arms.index) == [f"batch_size {size}" for size in (128, 32, 64, 8, 16)]
    assert (result.pairs["first"].iloc[0], result.pairs["second"].iloc[0]) == (
        "batch_size 128",
        "batch_size 32",
    )


def test_two_swept_keys_make_an_arm_of_each_combination() -> None:
    runs = [
        run(optimizer, seed, 0.98, params__batch_size=size)
        for seed in range(2) for optimizer in ("rmsprop", "adam") for size in ("32", "64")
    ]  # fmt: skip
    result = compared(runs)
    assert set(result.keys) == {"optimizer", "batch_size"}
    assert "adam, batch_size 32" in result.arms.index
    assert len(result.pairs) == 6


def test_a_list_such_as_metrics_is_a_setting() -> None:
    runs = [run("adam", 0, 0.9, params__callbacks=names) for names in ("[]", "['a.B']")]
    assert list(compared(runs).arms.index) == ["callbacks ['a.B']", "callbacks []"]


def test_a_learning_rate_swept_within_one_optimizer_is_part_of_the_arm() -> None:
    runs = [run("adam", 0, 0.98), run("adam", 0, 0.97) | {LEARNING_RATE: "0.01"}, run("rmsprop", 0, 0.96)]
    labels = {f"{name}, learning_rate {rate}" for name, rate in
              [("adam", "0.001"), ("adam", "0.01"), ("rmsprop", "0.001")]}  # fmt: skip
    assert set(compared(runs).arms.index) == labels


@pytest.mark.parametrize("by", [None, ["optimizer"]])
def test_a_setting_that_follows_from_the_optimizer_is_said_and_no_arm_of_its_own(
    by: list[str] | None,
) -> None:
    runs = [
        made | ({LEARNING_RATE: "0.01"} if made["params.optimizer"] == "adam" else {}) for made in sweep()
    ]
    result = compared(runs, by=by)
    assert list(result.arms.index) == ["adam", "rmsprop"]
    assert "adam 0.01 (7 runs)" in said(result, "differ in optimizer.learning_rate")


def test_where_nothing_was_swept_the_arm_has_a_name() -> None:
    assert list(compared(sweep(3, adam=ADAM)).arms.index) == ["adam"]
    strangers = [{k: v for k, v in made.items() if "optimizer" not in k} for made in sweep(3, adam=ADAM)]
    assert list(compared(strangers).arms.index) == ["all runs"]


@pytest.mark.parametrize("by", [None, ["optimizer.learning_rate"]])
def test_two_ways_to_write_one_number_are_one_value(by: list[str] | None) -> None:
    rates = ["0.001", "1e-3", "0.01", "1e-02", "2", "2.0"]
    runs = [run("adam", place // 2 * 10 + place % 2, 0.9) | {LEARNING_RATE: rate}
            for place, rate in enumerate(rates)]  # fmt: skip
    result = compared(runs, by=by)
    assert list(result.arms.index) == ["learning_rate 0.001", "learning_rate 0.01", "learning_rate 2"]
    assert result.arms["n"].to_list() == [2, 2, 2]
    assert compared(runs[:2], by=["optimizer"]).arms["n"].to_list() == [2], "nor is it another setting"
    words = [made | {"params.model": "aA"[place % 2]} for place, made in enumerate(runs)]
    assert len(compared(words).arms) == 6, "words are what they are"


# Arms that a sweep named


def named(seeds: int = 3) -> list[dict[str, object]]:
    """Return runs of two arms that differ in everything, as a sweep names them: the second first."""
    small = {"params.model": "mlp", "params.batch_size": "64", "params.optimizer.learning_rate": "0.0003"}
    return [
        run(optimizer, seed, 0.9 + 0.01 * place) | own | {"label": label, "place": float(place)}
        for seed in range(seeds)
        for optimizer, label, place, own in (
            ("rmsprop", "as it was", 1, {}),
            ("adam", "small $5, fast", 0, small),
        )
    ]


def test_named_arms_may_differ_in_anything_and_are_called_by_their_names_in_the_sweeps_order() -> None:
    result = compared(named())
    assert list(result.arms.index) == ["small $5, fast", "as it was"]
    assert result.baseline == "small $5, fast"
    assert result.arms["n"].to_list() == [3, 3]
    assert set(result.keys) == {"optimizer", "model", "batch_size"}
    assert result.pairs["n"].to_list() == [3]
    assert list(compared(named(), where=["seed=0"]).arms.index) == ["small $5, fast", "as it was"]


def test_a_runs_place_in_the_sweep_that_is_read_goes_before_that_in_the_sweep_that_made_it() -> None:
    runs = [made | {"tags.arm": str(7 - float(str(made["place"])))} for made in named()]
    assert list(compared(runs).arms.index) == ["small $5, fast", "as it was"]
    by = {"by": ["optimizer", "model", "batch_size"]}
    assert compared(runs, **by).baseline == "adam, mlp, batch_size 64"


def test_a_failed_run_of_a_named_arm_counts_for_it() -> None:
    runs = named()
    runs[0]["status"] = "FAILED"
    assert compared(runs).arms.loc["as it was", ["n", "failed"]].to_list() == [2, 1]


@pytest.mark.parametrize("key", ["optimizer.learning_rate", "model.activation"])
def test_within_a_named_arm_another_setting_is_refused(key: str) -> None:
    runs = named()
    runs[0][f"params.{key}"] = "other"
    text = message_of(runs)
    assert f"within as it was: {key} is " in text
    assert "other (1 run)" in text


def test_by_a_key_named_arms_are_as_any_others() -> None:
    assert "model is " in message_of(named(), by=["optimizer"])
    result = compared(named(), by=["optimizer", "model", "batch_size"])
    assert list(result.arms.index) == ["adam, mlp, batch_size 64", "rmsprop, cnn, batch_size 32"]


def test_a_setting_that_one_named_arm_alone_has_is_what_was_swept() -> None:
    runs = [run("adam", seed, 0.9) | {"label": name, "place": 0.0} | own for seed in range(2)
            for name, own in {"plain": {}, "gelu": {"params.model.activation": "gelu"}}.items()]  # fmt: skip
    result = compared(runs)
    assert set(result.arms.index) == {"plain", "gelu"}
    assert result.keys == ("model.activation",)
    assert result.settings.loc["model.activation"].to_dict() == {"plain": "", "gelu": "gelu"}


def test_without_a_name_for_every_run_or_with_two_for_one_setting_the_settings_name_the_arms() -> None:
    runs = named()
    runs[0]["label"] = None
    text = message_of(runs, by=["model"])
    assert "optimizer is " in text
    assert set(compared(runs).arms.index) == {"adam, mlp, batch_size 64", "rmsprop, cnn, batch_size 32"}
    again = [*named(), run("rmsprop", 9, 0.9) | {"label": "another name", "place": 1.0}]
    assert set(compared(again).arms.index) == {"adam, mlp, batch_size 64", "rmsprop, cnn, batch_size 32"}
    threads = [
        run("adam", 0, 0.9) | {"params.threads": n, "label": f"threads {n}", "place": 0.0} for n in "12"
    ]
    assert len(compared(threads).arms) == 2, "a sweep over the threads asks about them"


# Refused


def test_runs_that_differ_in_another_setting_are_refused_by_its_name_and_told_the_ways_out() -> None:
    runs = [*sweep(), *[run("adam", seed, 0.5, params__batch_size="64") for seed in range(20)]]
    text = message_of(runs, by=["optimizer"])
    assert "batch_size is 64 (20 runs), 32 (14 runs)" in text
    assert "--by optimizer batch_size;" in text
    assert "--where batch_size=64" in text
    assert "--sweep NAME" in text
    assert compared(runs, by=["optimizer", "batch_size"]).arms["n"].to_list() == [7, 20, 7]
    result = compared(runs, by=["optimizer"], where=["batch_size=32"])
    assert result.arms["n"].to_list() == [7, 7]


def test_a_failed_run_of_another_setting_is_refused_too_for_it_would_count_as_failed() -> None:
    other = run("adam", 9, 0.5, status="FAILED", params__batch_size="64")
    assert "batch_size is 32 (14 runs), 64 (1 run)" in message_of([*sweep(), other], by=["optimizer"])


def test_all_settings_that_differ_are_named() -> None:
    runs = [*sweep(), run("adam", 9, 0.5, params__batch_size="64", params__model="mlp")]
    text = message_of(runs, by=["optimizer"])
    assert "model is cnn (14 runs), mlp (1 run); batch_size is 32 (14 runs), 64 (1 run)" in text


def test_within_an_arm_another_setting_is_refused() -> None:
    other = [run("adam", seed, 0.5) | {LEARNING_RATE: "0.1"} for seed in range(3)]
    text = message_of([*sweep(), *other], by=["optimizer"])
    assert "within adam: optimizer.learning_rate is 0.001 (7 runs), 0.1 (3 runs)" in text
    assert "--by optimizer optimizer.learning_rate" in text
    kept = compared([*sweep(), *other], by=["optimizer"], where=["optimizer.learning_rate=1e-3"])
    assert kept.arms["n"].to_list() == [7, 7]


@pytest.mark.parametrize("by", [None, ["optimizer"]])
@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [
        ("tags.data.sha256", "fa" * 32, "data.sha256 is dededededede (14 runs), fafafafafafa (5 runs)"),
        ("params.data.limit_test", "100", "data.limit_test is None (14 runs), 100 (5 runs)"),
    ],
)
def test_other_data_are_refused(by: list[str] | None, column: str, value: str, shown: str) -> None:
    runs = [*sweep(), *[run("adam", seed, 0.5) | {column: value} for seed in range(5)]]
    text = message_of(runs, by=by)
    assert shown in text
    assert "--by" not in text, "results on different data are no arms"
    (way,) = [word for word in text.replace(";", "").split() if word.startswith("data.") and "=" in word]
    result = compared(runs, by=by, where=[way])
    assert result.arms["n"].to_list() == [7, 7]
    assert list(result.arms.index) == ["adam", "rmsprop"]


def test_a_setting_that_older_runs_do_not_have_is_not_taken_for_a_swept_one() -> None:
    runs = [*[made | {"params.augment": "False"} for made in sweep()], run("adam", 9, 0.9)]
    text = message_of(runs)
    assert "augment is False (14 runs), missing (1 run)" in text
    assert compared(runs, where=["augment=False"]).keys == ("optimizer",)
    assert len(compared(runs, where=["augment=missing"]).runs) == 1


@pytest.mark.parametrize(
    "name",
    ["data.path", "data.targets", "data", "force", "threads", "tracking.uri", "code", "arms", "arms.adam"],
)
def test_what_is_no_setting_may_differ(name: str) -> None:
    runs = [made | {f"params.{name}": str(number)} for number, made in enumerate(sweep())]
    for by in (None, ["optimizer"]):
        assert compared(runs, by=by).keys == ("optimizer",)


def test_a_key_that_no_run_has_or_that_makes_other_data_is_refused() -> None:
    assert "'optimizer'" in message_of(sweep(), by=["optimiser"])
    for key in ("data", "data.sha256", "data.limit_test"):
        assert "different data" in message_of(sweep(), by=[key])
    assert message_of(sweep(), by=["seed"]).startswith("seed: there is no such setting")


def test_a_metric_that_no_run_has_is_refused_by_name() -> None:
    text = message_of(sweep(), metric="test_acuracy")
    assert text.startswith("test_acuracy: no run has such a metric. Did you mean 'test_accuracy'?")


def test_without_any_run_or_only_strangers_the_error_says_what_to_do() -> None:
    with pytest.raises(UserError, match="make sweep"):
        compare(pd.DataFrame(), epochs_of())
    stranger = {"run_id": "s", "name": "s", "status": "FINISHED", "start_time": pd.Timestamp(0)}
    assert "none of the 1 runs has the parameter seed" in message_of([stranger])


# Where


def test_of_several_values_for_one_key_any_and_of_several_keys_all_are_kept() -> None:
    runs = [
        run(name, seed, 0.9, params__batch_size=b)
        for name in ("adam", "sgd")
        for b in "123"
        for seed in (0, 1)
    ]
    result = compared(runs, where=["batch_size=1", "batch_size=3", "optimizer=adam"])
    assert list(result.arms.index) == ["batch_size 1", "batch_size 3"]
    assert set(reasons(result)) == {"not batch_size=1 or 3", "not optimizer=adam"}
    assert "4 runs" in said(result, "not batch_size=1 or 3")
    assert "4 runs" in said(result, "not optimizer=adam")


def test_an_unknown_key_or_value_is_answered_with_those_that_there_are() -> None:
    text = message_of(sweep(), where=["optimiser=adam"])
    assert text.startswith(
        "optimiser: there is no such parameter or tag among the runs. Did you mean 'optimizer'?"
    )
    text = message_of(sweep(), where=["optimizer=sgd"])
    assert text == "no run has optimizer=sgd. There are: rmsprop (7 runs), adam (7 runs)"


# Left out


@pytest.mark.parametrize("status", ["FAILED", "KILLED", "RUNNING", "INTERRUPTED"])
def test_an_unfinished_run_is_listed_and_counted_but_never_paired(status: str) -> None:
    runs = sweep()
    runs[0]["status"] = status
    result = compared(runs)
    column, other = ("failed", "unfinished") if status == "FAILED" else ("unfinished", "failed")
    assert result.arms.loc["rmsprop", [column, other, "n"]].to_list() == [1, 0, 6]
    assert reasons(result) == [status]
    assert "rmsprop cnn seed 0" in said(result, f"Left out: 1 run ({status})")
    assert result.pairs["n"].to_list() == [6]
    assert column in tables(result)["Arms: mean ± standard deviation over seeds"]
    assert ("Failed, and in no pair: 1 run of rmsprop." in sentence(result)) == (status == "FAILED")


def test_a_failed_run_that_was_run_again_does_not_count_as_failed() -> None:
    result = compared([run("adam", 0, 0.1, status="FAILED"), *sweep()])
    assert result.arms["failed"].to_list() == [0, 0]
    assert reasons(result) == ["FAILED, while another run of the same arm and seed finished"]


def test_of_two_finished_runs_of_one_arm_and_seed_the_newest_counts() -> None:
    result = compared([*sweep(), run("adam", 0, 0.5)])
    assert result.runs.query("arm == 'adam' and seed == 0")["value"].to_list() == [0.5]
    assert "adam cnn seed 0" in said(result, "a newer run of the same arm and seed finished")


@pytest.mark.parametrize("value", [np.nan, None, np.inf, 1.8e308, -1.8e308])
def test_a_run_whose_result_is_no_number_is_listed_and_not_paired(value: float) -> None:
    runs = sweep()
    runs[0]["metrics.test_accuracy"] = value
    result = compared(runs)
    assert result.pairs["n"].to_list() == [6]
    assert reasons(result) == ["its test_accuracy is missing or not a number"]
    assert np.isfinite(result.arms["test_accuracy"]).all()


def test_a_strangers_runs_are_listed_and_do_no_harm() -> None:
    strangers = [
        {"run_id": "s1", "name": "s", "status": "FINISHED", "start_time": pd.Timestamp("2026-02-01"),
         "params.alpha": "1"},
        run("adam", "first", 0.9),
        run("adam", 3, 0.9) | {"tags.data.sha256": None, "params.beta": "2"},
    ]  # fmt: skip
    result = compared([*sweep(), *strangers])
    assert result.arms["n"].to_list() == [7, 7]
    assert sorted(reasons(result)) == [
        "no digest of its data is stored with it",
        "no seed is stored with it",
        "no seed is stored with it",
    ]


def test_a_run_without_the_key_that_is_compared_by_is_left_out() -> None:
    result = compared([*sweep(), run("adam", 3, 0.9) | {"params.optimizer": None}], by=["optimizer"])
    assert reasons(result) == ["no optimizer is stored with it"]
    text = message_of([*sweep(), run("adam", 3, 0.9) | {"params.optimizer": None}])
    assert "optimizer is rmsprop (7 runs), adam (7 runs), missing (1 run)" in text
    assert "--by optimizer; " in text


def test_an_arm_without_a_usable_run_stays_in_the_table() -> None:
    runs = sweep()
    for made in runs[::2]:
        made["status"] = "FAILED"
    result = compared(runs)
    assert result.arms.loc["rmsprop", ["n", "failed"]].to_list() == [0, 7]
    assert "only adam" in sentence(result)


def test_a_digest_of_the_data_chooses_as_the_refusal_of_a_mixture_says() -> None:
    """The parameter data.sha256 is what the file must be, and may be None; the tag is what it was."""
    other = [made | {"tags.data.sha256": "ad" * 32} for made in sweep()]
    runs = [made | {"params.data.sha256": "None"} for made in [*sweep(), *other]]
    text = message_of(runs)
    (way,) = re.findall(r"--where (\S+?);", text)
    assert set(compared(runs, where=[way]).runs["tags.data.sha256"]) < {"ad" * 32, "de" * 32}


def test_a_mistyped_key_is_said_before_other_data() -> None:
    other = [made | {"tags.data.sha256": "ad" * 32} for made in sweep()]
    assert "Did you mean 'optimizer'?" in message_of([*sweep(), *other], by=["optimzer"])
