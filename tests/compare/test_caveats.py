"""What is said beside the numbers."""

import pytest
from made_runs import compared, run, said, sweep

from handwriting.compare.wording import markdown


@pytest.mark.parametrize("name", ["git.commit", "cpu", "threads", "tensorflow", "code.sha256"])
def test_other_code_versions_and_machines_are_pooled_and_said(name: str) -> None:
    runs = [made | {f"tags.{name}": "other" if i % 2 else "same"} for i, made in enumerate(sweep())]
    result = compared(runs)
    caveat = said(result, f"Pooled although {name} differs")
    assert "rmsprop same (7 runs), adam other (7 runs)" in caveat
    assert ("seconds compare only" in caveat) == (name in ("cpu", "threads"))
    assert result.arms["n"].to_list() == [7, 7]


def test_of_many_arms_the_values_alone_are_said() -> None:
    runs = [
        run(name, seed, 0.9) | {"params.optimizer.learning_rate": str(0.1 * (name < "c"))}
        for name in "abcdef"
        for seed in range(2)
    ]
    assert said(compared(runs), "The arms differ").endswith("learning_rate too: 0.0 (8 runs), 0.1 (4 runs)")
    assert "a 0.1 (2 runs), b 0.1 (2 runs), c 0.0 (2 runs)" in said(compared(runs[:6]), "The arms differ")


def test_runs_made_before_the_code_was_stored_are_of_unknown_code() -> None:
    assert not [text for text in compared(sweep()).caveats if "code" in text], "all of them are"
    runs = [made | {"tags.code.sha256": "c" * 64 if i % 2 else None} for i, made in enumerate(sweep())]
    caveat = said(compared(runs), "Pooled although code.sha256 differs")
    assert "rmsprop unknown (7 runs), adam cccccccccccc (7 runs)" in caveat


def test_uncommitted_changes_and_other_initial_weights_are_said() -> None:
    runs = sweep()
    runs[0]["tags.git.dirty"], runs[3]["tags.weights.initial"] = "true", "others"
    result = compared(runs)
    assert "1 run of 14" in said(result, "uncommitted changes")
    assert said(result, "Not the same initial weights").endswith("seed 1")


def test_other_networks_start_from_other_weights_without_a_word() -> None:
    runs = [run("adam", 0, 0.9, params__model=name, tags__weights__initial=name) for name in ("cnn", "mlp")]
    assert not compared(runs).caveats


def test_runs_that_went_on_without_a_callbacks_state_are_said() -> None:
    runs = sweep()
    runs[0]["tags.callbacks.not_kept"] = runs[2]["tags.callbacks.not_kept"] = "EarlyStopping"
    caveat = said(compared(runs), "callbacks")
    assert caveat.startswith("2 runs of 14 went on")
    assert "rmsprop EarlyStopping (2 runs)" in caveat


def test_of_many_sentences_of_one_kind_the_rest_are_counted() -> None:
    runs = [run("adam", seed, 0.9, params__batch_size=str(seed)) for seed in range(12)]
    caveats = compared(runs).caveats
    assert sum(caveat.startswith("Unpaired") for caveat in caveats) == 8
    assert "And 4 more sentences like the last" in caveats


def test_caveats_stand_in_the_description() -> None:
    assert "- Unpaired: rmsprop has no result for seed 41" in markdown(
        compared([*sweep(), run("adam", 41, 0.1)])
    )
