"""One tracked run, from checked arrays to a stored model. Importing this imports TensorFlow and MLflow."""

import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import hydra
import keras
import mlflow
import numpy as np
import tensorflow as tf
from omegaconf import DictConfig, OmegaConf

from handwriting.analysis.figures import MISTAKES, mistakes
from handwriting.augment import shifted
from handwriting.callbacks import SeedEpoch, StopAtNan, TrackEpochs
from handwriting.checkpoint import Checkpoints, weights_digest
from handwriting.claim import Claim, checkpoints_folder, joined
from handwriting.config import cores, flatten
from handwriting.data import CLASSES, Digits, Split
from handwriting.errors import UserError, redact
from handwriting.palette import color_of
from handwriting.pipeline import evaluation_batches, input_shape, training_batches
from handwriting.provenance import command_line, git_state, machine_tags
from handwriting.tracking import Run, tracked_run

log = logging.getLogger(__name__)

# A worker builds a model for each of its runs, and of the fifth on TensorFlow warns that it traces anew.
tf.get_logger().addFilter(lambda record: "triggered tf.function retracing" not in record.getMessage())

STEPS_PER_EXECUTION = 32  # of the batches that TensorFlow runs before Python has a turn


def fit_and_track(
    cfg: DictConfig, digits: Digits, choices: dict[str, str], claim: Claim, sweep: str, start: str = ""
) -> str:
    """Train `cfg.model` with `cfg.optimizer`, store all of it as one run, new or gone on with; return its id.

    Args:
        cfg: a checked config.
        digits: the data that it names.
        choices: the chosen member of each config group, such as {"optimizer": "adam"}.
        claim: the right to the run.
        sweep: the name of the sweep that the run belongs to; empty for a run of its own.
        start: the id of the run whose weights this one starts from; empty for random ones.
    """
    threads = set_threads(cfg.threads)
    model = build_model(cfg, len(digits.train))
    if start:
        model.set_weights(mlflow.keras.load_model(f"runs:/{start}/model").get_weights())
    code, diff = git_state()
    tags = {
        "fingerprint": claim.fingerprint,
        "data.sha256": digits.sha256,
        "weights.initial": weights_digest(model),
        "command": command_line(),
        "threads": str(threads),
        "onednn": os.environ["TF_ENABLE_ONEDNN_OPTS"],
        "mlflow.runColor": color_of(choices["optimizer"]),
        **code,
        **machine_tags(),
        **({"sweep": sweep} if sweep else {}),
        **({"repeats": claim.repeats} if claim.repeats else {}),
        **({"starts_from": start} if start else {}),
    }
    after = f" {choices['start']}" if start else ""
    name = f"{choices['optimizer']} {choices['model']}{after} seed {cfg.seed}"
    run_id = claim.run.info.run_id if claim.run else None
    with tracked_run(claim.experiment_id, name, tags, run_id) as run:
        checkpoints = Checkpoints(checkpoints_folder(cfg.tracking.uri, run.id), claim.fingerprint)
        saved = checkpoints.newest() if run_id else None
        history = saved.history if saved else []
        if run_id:
            log.info("%s  run %s goes on after epoch %d", name, run_id, len(history))
            resumes = {"resumes": str(int(run.tags.get("resumes", 0)) + 1)}
            sweeps = joined(run.tags, sweep)
            run.set_tags(resumes | ({"sweep": sweeps} if sweeps else {}))
        else:
            log.info("%s  run %s starts", name, run.id)
        log_setting(run, cfg, choices, model, diff)
        run.log_dataset(choices["data"], cfg.data.path, digits.train, digits.sha256)
        if saved:
            saved.restore(model)
        # A bar with the time left; not in a sweep, where several jobs write to one terminal.
        verbose = 1 if sys.stdout.isatty() and not sweep else 0
        train(model, cfg, digits, [TrackEpochs(run, checkpoints, history, cfg.epochs)], len(history), verbose)
        if "test_accuracy" not in run.metrics:
            test(model, cfg, digits.test, run, sum(epoch["epoch_seconds"] for epoch in history))
    checkpoints.remove()
    return run.id


def set_threads(threads: int | None) -> int:
    """Set the number of TensorFlow's threads, every core for None, and return it.

    TensorFlow takes it once in a process, before its first operation.
    """
    wanted = threads or cores()
    if tf.config.threading.get_intra_op_parallelism_threads() != wanted:
        tf.config.threading.set_intra_op_parallelism_threads(wanted)
        tf.config.threading.set_inter_op_parallelism_threads(wanted)
    return wanted


def build_model(cfg: DictConfig, images: int) -> keras.Model:
    """Build and compile the model. The same seed gives the same weights, whatever the optimizer.

    Args:
        cfg: a checked config.
        images: how many are trained on; a schedule is as long as all of the run's steps.

    Raises:
        UserError: the model, the schedule or the optimizer does not take what the config gives it.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(cfg.seed)
    shape = {"input_shape": input_shape(), "classes": CLASSES}
    model = _instantiate("model", cfg.model, shape)
    steps = cfg.epochs * -(-images // cfg.batch_size)
    rate = _instantiate("schedule", cfg.schedule, {"peak": cfg.optimizer.learning_rate, "steps": steps})
    optimizer = _instantiate("optimizer", cfg.optimizer, {"learning_rate": rate})
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=cfg.label_smoothing),
        metrics=["accuracy"],
        steps_per_execution=STEPS_PER_EXECUTION,
        jit_compile=False,  # XLA takes five times as long for this network on a CPU
    )
    return model


def _instantiate(group: str, node: DictConfig, more: dict) -> Any:
    try:
        return hydra.utils.instantiate(node, **more)
    except hydra.errors.InstantiationException as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise UserError(f"{group}: {node._target_} does not take these values: {reason}") from error


def train(
    model: keras.Model,
    cfg: DictConfig,
    digits: Digits,
    callbacks: Sequence[keras.callbacks.Callback],
    trained: int = 0,
    verbose: int = 0,
) -> keras.callbacks.History:
    """Fit the model for the epochs after the first `trained` ones; return Keras's history of them."""
    epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
    # A run that goes on from another's weights does not see that one's order of examples again.
    seed_epoch = SeedEpoch(cfg.seed, epoch, first=cfg.epochs if cfg.start.optimizer else 0)
    return model.fit(
        training_batches(digits.train, cfg.batch_size, cfg.seed, epoch, cfg.augmentation),
        validation_data=evaluation_batches(digits.validation),
        initial_epoch=trained,
        epochs=cfg.epochs,
        shuffle=False,  # the batches are shuffled already
        verbose=verbose,
        callbacks=[seed_epoch, StopAtNan(cfg.optimizer.learning_rate), *callbacks],
    )


def test(model: keras.Model, cfg: DictConfig, split: Split, run: Run, seconds: float) -> None:
    """Read the test set, once: store its loss and accuracy and a picture of what the model got wrong.

    An image's probabilities are the mean over its views: `cfg.test_shift` says how far they are shifted.
    """
    # Not `predict`: it would trace a function anew for each run of a sweep, and warn of that.
    probabilities = np.concatenate(
        [
            np.mean([model(view, training=False) for view in shifted(images, cfg.test_shift)], axis=0)
            for images, _ in evaluation_batches(split)
        ]
    )
    predicted = probabilities.argmax(axis=1)
    losses = np.asarray(keras.losses.sparse_categorical_crossentropy(split.y, probabilities))
    run.log_figure(mistakes(split.x, split.y, predicted, run.name), MISTAKES)
    metrics = {"test_loss": float(losses.mean()), "test_accuracy": float((predicted == split.y).mean())}
    run.log_metrics(metrics | {"training_seconds": seconds}, cfg.epochs - 1)


def log_setting(run: Run, cfg: DictConfig, choices: dict[str, str], model: keras.Model, diff: str) -> None:
    """Store all that the run was asked to do, before it does it."""
    resolved = {f"keras_optimizer.{k}": v for k, v in model.optimizer.get_config().items()}
    run.log_params({**flatten(cfg), **choices, **resolved})
    run.log_text(redact(OmegaConf.to_yaml(cfg, resolve=True)), "config.yaml")
    lines: list[str] = []
    model.summary(print_fn=lambda line, **_: lines.append(line), line_length=100)
    run.log_text("\n".join(lines), "model.txt")
    if diff:
        run.log_text(diff, "uncommitted.diff")
