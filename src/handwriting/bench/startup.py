"""What a run costs besides its epochs: the seconds of each step, done once, as a line of JSON."""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

seconds: dict[str, float] = {}


@contextmanager
def clock(step: str) -> Iterator[None]:
    """Time a step."""
    started = time.perf_counter()
    yield
    seconds[step] = time.perf_counter() - started


def main() -> None:
    """Do what a run does, once, and print the seconds of each step."""
    seconds["start Python and this package"] = time.time() - psutil.Process().create_time()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        with clock("import TensorFlow and Keras"):
            import keras  # noqa: F401
            import tensorflow  # noqa: F401
        with clock("import MLflow"):
            import mlflow.keras  # noqa: F401
        with clock("import the rest"):
            from handwriting.config import compose
            from handwriting.data import load_dataset
            from handwriting.drawing import mistakes
            from handwriting.tracking import Store, names
            from handwriting.tracking.identity import identify
            from handwriting.tracking.provenance import git_state, machine_tags
            from handwriting.tracking.run import tracked_run
            from handwriting.training import build, evaluate, fit
            from handwriting.training.checkpoint import Checkpoint, Checkpoints, weights_digest
            from handwriting.training.run import log_setting
        # 1024 images: a single execution, of 32 steps of 32.
        cfg = compose("optimizer=adam", "data.limit_train=1024", "data.validation_size=100", "epochs=1")
        with clock("read, check and split the data"):
            dataset = load_dataset(cfg.data, cfg.seed)
        with clock("make a store"):
            store = Store(f"sqlite:///{folder}/mlflow.db")
            experiment_id = store.open_experiment("bench")
        with clock("build the model"):
            built = build(cfg, dataset)
        with clock("first epoch"):
            fit(built.model, cfg, dataset, [])
        with clock("second epoch"):
            history = fit(built.model, cfg, dataset, []).history
        seconds["trace the first step"] = seconds.pop("first epoch") - seconds.pop("second epoch")
        metrics = {key: values[-1] for key, values in history.items()}
        with clock("start a run, with its setting"):
            identity, git = identify(cfg, dataset.sha256), git_state()
            tags = {
                names.INITIAL_WEIGHTS: weights_digest(built.model),
                names.COMMIT: git.commit,
                **machine_tags(),
            }
            run = stack.enter_context(tracked_run(store, experiment_id, "bench", tags))
            log_setting(run, cfg, {"optimizer": "adam", "schedule": "constant", "model": "cnn"}, built.model)
            run.log_text(json.dumps(identity.code, indent=1), names.CODE_FILE)
            run.log_code(git, {}, Path(cfg.data.path))
            run.log_dataset("mnist", cfg.data.path, dataset.train.x, dataset.train.y, dataset.sha256)
        checkpoints = Checkpoints(Path(folder), identity.fingerprint)
        with clock("an epoch's checkpoint"):
            checkpoints.save(Checkpoint.of(built.model, [metrics]))
        with clock("an epoch's metrics"):
            run.log_epoch(metrics, 0)
        with clock("store the model"):
            digests = run.log_model(built.model, 0, dataset.train.x[:1], dataset.classes)
            run.set_tags({names.FINAL_WEIGHTS: weights_digest(built.model), **digests})
        with clock("read the test set, and draw"):
            (scores, predicted), test = evaluate(built, dataset), dataset.test
            run.log_figure(mistakes(test.x, test.y, predicted, dataset.classes, run.name), names.MISTAKES)
            run.log_metrics(scores, 0)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
