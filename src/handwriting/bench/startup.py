"""What a run costs besides its epochs: the seconds of each part, done once, as a line of JSON."""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path

IMAGES = 1024  # one execution of 32 steps of 32

seconds: dict[str, float] = {}


@contextmanager
def clock(part: str) -> Iterator[None]:
    """Time a part."""
    started = time.perf_counter()
    yield
    seconds[part] = time.perf_counter() - started


def main() -> None:
    """Do what a run does, once, and print the seconds of each part."""
    with ExitStack() as stack:
        stack.enter_context(redirect_stderr(StringIO()))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with clock("import TensorFlow and Keras"):
            import keras  # noqa: F401
            import tensorflow  # noqa: F401
        with clock("import MLflow"):
            import mlflow.keras  # noqa: F401
        with clock("import the rest"):
            from handwriting.checkpoint import Checkpoint, Checkpoints
            from handwriting.config import compose
            from handwriting.data import load_digits
            from handwriting.fit import build_model, log_setting, test, train
            from handwriting.tracking import open_store, tracked_run
        cfg = compose(
            "optimizer=adam", f"data.limit_train={IMAGES}", "epochs=1", "data.validation_size=100",
            f"tracking.uri=sqlite:///{folder}/mlflow.db",
        )  # fmt: skip
        with clock("read, check and split the data"):
            digits = load_digits(cfg.data, cfg.seed)
        with clock("make a store"):
            experiment_id = open_store(cfg.tracking)
        with clock("build the model"):
            model = build_model(cfg, IMAGES)
        with clock("first epoch"):
            train(model, cfg, digits, [])
        with clock("second epoch"):
            history = train(model, cfg, digits, []).history
        seconds["trace the first step"] = seconds.pop("first epoch") - seconds.pop("second epoch")
        metrics = {key: values[-1] for key, values in history.items()}
        with clock("start a run, with its setting"):
            run = stack.enter_context(tracked_run(experiment_id, "bench", {}))
            choices = {"optimizer": "adam", "schedule": "constant", "model": "cnn"}
            log_setting(run, cfg, choices, model, "")
            run.log_dataset("mnist", cfg.data.path, digits.train, digits.sha256)
        checkpoints = Checkpoints(folder / "checkpoints", "bench")
        with clock("an epoch's checkpoint"):
            checkpoints.save(Checkpoint.of(model, [metrics]))
        with clock("an epoch's metrics"):
            run.log_epoch(metrics, 0)
        with clock("store the model"):
            run.log_model(model, 0)
        with clock("read the test set, and draw"):
            test(model, cfg, digits.test, run, 1.0)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
