"""The notebook, executed over stores that ask different questions, in one kernel for all of them."""

import gc
import re
from collections.abc import Mapping, Sequence
from html import unescape
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbconvert.preprocessors import ExecutePreprocessor
from sqlalchemy import create_engine, text

from conftest import CHOICES, fit_tracked
from handwriting.bench.synthetic import fill
from handwriting.compare import Comparison, compare, load_runs, sentence
from handwriting.config import ROOT, compose
from handwriting.data import load_dataset
from handwriting.tracking import Store

NOTEBOOK = ROOT / "notebooks" / "analysis.ipynb"
CLASSES = ("oak", "elm", "ash", "fir", "yew")
RATES = {"slow": "0.001", "usual": "0.01", "fast": "0.1"}
# Of each question, the store that it is asked of, and its knobs.
QUESTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "digits": ("trained", {"SWEEP": "digits-00000000"}),
    "trees": ("trained", {"SWEEP": "trees-00000000"}),
    "forty arms": ("many", {"BY": ["optimizer", "batch_size"]}),
    "twenty pairs": ("pairs", {}),
    "ties only": ("pairs", {"METRIC": "test_loss", "WHERE": [f"seed={seed}" for seed in range(7)]}),
    "one arm, one seed": ("pairs", {"WHERE": ["optimizer=adam", "seed=3"]}),
    "nothing finished": ("failed", {"EXPERIMENT": "synthetic"}),
}
TRAINED = ("digits", "trees")
NOT_TRAINED = ("forty arms", "twenty pairs", "ties only")

Outputs = dict[str, list[Any]]
Stores = dict[str, Store]


def train(store: Store, name: str, arms: Mapping[str, str], seeds: int, *words: str) -> None:
    """Train each arm, which is given by its label and its overrides, for each seed as a sweep does."""
    for seed in range(seeds):
        for place, (label, own) in enumerate(arms.items()):
            sweep = (f"tracking.sweep={name}-00000000", f"tracking.arm={place}", f"tracking.label={label}")
            tracking = (f"tracking.uri={store.uri}", f"tracking.experiment_name={name}", *sweep)
            cfg = compose("model=mlp", "model.units=8", "epochs=1", *words, *own.split(), *tracking)
            cfg.seed = seed
            chosen = {"model": "mlp", "data": name, "optimizer": own.split()[0].removeprefix("optimizer=")}
            fit_tracked(cfg, load_dataset(cfg.data, seed), CHOICES | chosen)


def write_trees(path: Path) -> None:
    """Write images of 12 by 10 pixels in colour; each class has a pattern of its own under noise."""
    chance = np.random.default_rng(0)
    patterns, arrays = chance.random((5, 3, 10, 3)).repeat(4, axis=1), {"class_names": np.array(CLASSES)}
    for part, each in (("train", 24), ("test", 8)):
        labels = np.tile(np.arange(5), each)
        mixed = 0.4 * patterns[labels] + 0.6 * chance.random((len(labels), 12, 10, 3))
        arrays |= {f"x_{part}": (255 * mixed).astype(np.uint8), f"y_{part}": labels}
    np.savez(path, allow_pickle=False, **arrays)


def change(store: Store, *statements: str) -> None:
    """Change what a store of synthetic runs holds."""
    engine = create_engine(store.uri)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    root = tmp_path_factory.mktemp("stores")
    found = {name: Store(f"sqlite:///{root}/{name}/mlflow.db") for name, _ in QUESTIONS.values()}
    write_trees(root / "trees.npz")
    gc.freeze()  # Keras collects garbage before it builds a model: a second among all that is imported
    optimizers = {"rmsprop": "optimizer=rmsprop", "adam": "optimizer=adam"}
    train(found["trained"], "digits", optimizers, 2, "data=digits8x8", "batch_size=128")
    rates = {label: f"optimizer=sgd optimizer.learning_rate={rate}" for label, rate in RATES.items()}
    colored = (f"data.path={root}/trees.npz", "data.validation_size=30", "test_shift=1")
    train(found["trained"], "trees", rates, 2, *colored)
    for name, runs in (("many", 160), ("pairs", 40), ("failed", 4)):
        fill(found[name], runs)
    # Twenty values beside the two optimizers, and four seeds of each.
    change(
        found["many"],
        "DELETE FROM tags WHERE key = 'arm'",
        "DELETE FROM params WHERE key = 'batch_size'",
        "INSERT INTO params (run_uuid, key, value) "
        "SELECT run_uuid, 'batch_size', CAST(value AS INTEGER) % 20 + 1 FROM params WHERE key = 'seed'",
        "UPDATE params SET value = CAST(value AS INTEGER) / 20 WHERE key = 'seed'",
    )
    change(found["failed"], "UPDATE runs SET status = 'FAILED'")
    return found


def asking(cells: Sequence[Any], uri: str, knobs: Mapping[str, Any]) -> list[str]:
    """Return the code of all cells, with the knobs set, for a kernel that has run other questions before."""
    (place,) = (place for place, cell in enumerate(cells) if "\nSWEEP = " in cell.source)
    code = [cell.source for cell in cells]
    for knob, value in knobs.items():
        code[place], found = re.subn(rf"(?m)^{knob} = .*$", f"{knob} = {value!r}", code[place])
        assert found == 1
    return [f"%reset -f\nimport os\nos.environ['MLFLOW_TRACKING_URI'] = {uri!r}", *code]


@pytest.fixture(scope="module")
def shown(stores: Stores) -> Outputs:
    """Return what all cells of the notebook put out, for each question."""
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    asked = {name: asking(cells, stores[store].uri, knobs) for name, (store, knobs) in QUESTIONS.items()}
    executed = {name: [nbformat.v4.new_code_cell(code) for code in codes] for name, codes in asked.items()}
    whole = nbformat.v4.new_notebook(cells=[cell for own in executed.values() for cell in own])
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTEST_CURRENT_TEST")  # with it a kernel hides what TensorFlow writes
        ExecutePreprocessor(timeout=300, allow_errors=True).preprocess(whole)
    done = iter(whole.cells)
    return {name: [output for _ in own for output in next(done).outputs] for name, own in executed.items()}


def words_of(outputs: Sequence[Any]) -> str:
    """Return what outputs say, less their tags."""
    said = [output.get("data", {}).get("text/html", "") for output in outputs]
    return unescape(re.sub(r"<[^>]*>", " ", "\n".join(said)))


def answer(stores: Stores, name: str) -> Comparison:
    """Return what `compare` makes of a question."""
    store, knobs = QUESTIONS[name]
    loaded = load_runs(stores[store], knobs.get("SWEEP"), knobs.get("EXPERIMENT"))
    asked = {knob.lower(): knobs[knob] for knob in ("BY", "METRIC", "WHERE") if knob in knobs}
    return compare(loaded.runs, loaded.epochs, **asked)


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_cell_runs_and_the_verdict_is_that_of_the_knobs(
    shown: Outputs, stores: Stores, name: str
) -> None:
    assert not [output for output in shown[name] if output.output_type in ("error", "stream")]
    assert sentence(answer(stores, name)) in words_of(shown[name])


def test_nothing_is_said_that_is_true_of_another_question_only(shown: Outputs) -> None:
    sources = "\n".join(cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells)
    others = re.compile("rmsprop|adam|mnist|digit|cnn", re.IGNORECASE)
    assert not others.findall(sources + words_of(shown["trees"]))
    assert not {*CLASSES, *RATES} & set(re.findall(r"\w+", words_of(shown["digits"])))


@pytest.mark.parametrize("name", TRAINED)
def test_a_stored_model_shows_what_it_gets_wrong(shown: Outputs, stores: Stores, name: str) -> None:
    comparison, said = answer(stores, name), words_of(shown[name])
    best = comparison.runs[comparison.runs["arm"] == comparison.choice.best].sort_values("seed").iloc[0]
    right = f"{best['metrics.val_accuracy']:.2%}"
    assert re.search(rf"{best['name']}: [\d,]+ parameters", said)
    assert f"{right} right. The run stored {right} after its last epoch." in said
    assert ("9 views of each image" in said) == (name == "trees"), "where the test images were shifted"
    drawn = [number for number, output in enumerate(shown[name]) if "image/png" in output.get("data", {})]
    after = [number for number, output in enumerate(shown[name]) if "validation images" in words_of([output])]
    assert drawn[-2] in (after[-1] + 1, after[-1] + 2), "the picture of them; the last is the experiment's"


@pytest.mark.parametrize("name", NOT_TRAINED)
def test_a_model_that_is_not_there_is_said_in_one_line(shown: Outputs, name: str) -> None:
    said = words_of(shown[name])
    assert len(re.findall(r"is not shown\. .*config\.yaml", said)) == 1
    assert "There is no model to look at." in said


@pytest.mark.parametrize("name", [*TRAINED, *NOT_TRAINED])
def test_the_difference_by_hand_is_that_of_the_comparison(shown: Outputs, stores: Stores, name: str) -> None:
    """The cell that says so raises where they are not the same."""
    comparison, said = answer(stores, name), words_of(shown[name])
    assert said.count("By hand and by handwriting.compare: the same") == 1
    values, first = comparison.runs.pivot(index="seed", columns="arm", values="value"), comparison.baseline
    best, after = comparison.choice.best, comparison.arms.index[1]
    second = after if best == first else best
    steps = np.rint((values[second] - values[first]).to_numpy() * 1e6)
    opposite = (steps * np.sign(steps.sum()) < 0).sum()
    assert f"{second} − {first} in {comparison.metric.name}: " in said
    assert f"Of the single seeds, {opposite} of {len(steps)} would have said the opposite" in said


@pytest.mark.parametrize("name", ["one arm, one seed", "nothing finished"])
def test_each_cell_without_a_pair_says_so(shown: Outputs, name: str) -> None:
    said = words_of(shown[name])
    for what in ("work out", "check", "flip"):
        assert f"nothing to {what}" in said
    assert "No two arms have two seeds in common." in said


def test_the_notebook_is_committed_without_outputs() -> None:
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert not cell.metadata
