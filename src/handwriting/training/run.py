"""One tracked run, from a checked config to a stored model: read `train_run` from top to bottom."""

import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from omegaconf import DictConfig, OmegaConf

from handwriting.config import OF_SWEEP, TOLD, TrackingConfig, cores, flatten
from handwriting.data import Dataset, ink_of
from handwriting.drawing import COLORS, mistakes
from handwriting.errors import UserError, redact
from handwriting.precision import FLOAT16, NO_GPU
from handwriting.tracking import names
from handwriting.tracking.elsewhere import place_of
from handwriting.tracking.identity import digest
from handwriting.tracking.model import load_model
from handwriting.tracking.provenance import command_line, git_state, machine_tags
from handwriting.tracking.resume import Found, sweep_tags
from handwriting.tracking.run import Run, tracked_run
from handwriting.training.augmentation import shifted
from handwriting.training.batches import evaluation_batches, training_batches
from handwriting.training.building import Built, build, within_memory
from handwriting.training.callbacks import SeedEpoch, StopAtNan, TrackEpochs, WatchCallbacks
from handwriting.training.checkpoint import Checkpoint, Checkpoints, weights_digest

log = logging.getLogger(__name__)

# A worker builds a model for each of its runs, and of the fifth on TensorFlow warns that it traces anew.
tf.get_logger().addFilter(lambda record: "triggered tf.function retracing" not in record.getMessage())


def train_run(
    cfg: DictConfig, dataset: Dataset, choices: Mapping[str, str], found: Found, start: str = ""
) -> tuple[str, float]:
    """Train `cfg.model` with `cfg.optimizer`, store all of it as one run, new or gone on with.

    Returns its id, and its validation accuracy after the last epoch, from 0 to 1.

    Args:
        cfg: a checked config.
        dataset: what it names.
        choices: the chosen member of each config group, such as {"optimizer": "adam"}.
        found: the right to the run.
        start: the id of the run whose weights this one starts from; empty for random ones.
    """
    if cfg.precision == FLOAT16 and not tf.config.list_physical_devices("GPU"):
        raise UserError(NO_GPU)  # to TensorFlow; that the machine has one is checked before

    # The model, from its seed or from another run's weights.
    threads = set_threads(cfg.threads)
    built = build(cfg, dataset)
    model = built.model
    if start:
        with within_memory(cfg, model):
            model.set_weights(load_model(found.store, start).get_weights())

    # The run, and all that it was asked to do, before it does it.
    git, tracking = git_state(), cfg.tracking
    own_tags = {
        names.FINGERPRINT: found.identity.fingerprint,
        names.SETTING: found.identity.setting_digest,
        names.CODE: digest(found.identity.code),
        names.DATA: dataset.sha256,
        names.INITIAL_WEIGHTS: weights_digest(model),
        names.COMMAND: command_line(),
        names.THREADS: str(threads),
        names.PRECISION: cfg.precision,
        names.ONEDNN: os.environ["TF_ENABLE_ONEDNN_OPTS"],
        names.COMMIT: git.commit,
        names.DIRTY: git.dirty,
        **machine_tags(),
        **built.better,
        **sweep_tags(tracking, {}),
        **({} if tracking.arm is None else _place(tracking.arm)),
        **({names.REPEATS: found.repeats} if found.repeats else {}),
        **({names.STARTS_FROM: start} if start else {}),
        **({names.TUNING: tracking.tuning} if tracking.tuning else {}),
        **_retried(tracking),
    }
    name = f"{tracking.label or name_alone(choices)} seed {cfg.seed}"
    run_id, saved = found.run.info.run_id if found.run else None, None
    if run_id:
        saved = _checkpoints(found, tracking, run_id).newest()
    if saved:
        with within_memory(cfg, model):
            saved.restore(model)  # before anything is written: one that does not fit leaves the run as it is
    history = saved.history if saved else []
    tracked = tracked_run(found.store, found.experiment_id, name, own_tags, run_id)
    with tracked as run, within_memory(cfg, model):
        checkpoints = _checkpoints(found, tracking, run.id)
        if run_id:
            log.info("%s  run %s goes on after epoch %d", name, run_id, len(history))
            run.set_tags(_going_on(run, tracking, git.commit, git.dirty))
        else:
            log.info("%s  run %s starts", name, run.id)
        log_setting(run, cfg, choices, model)
        run.log_text(json.dumps(found.identity.code, indent=1), names.CODE_FILE)
        run.log_code(git, found.identity.modules, Path(cfg.data.path))
        run.log_dataset(
            Path(cfg.data.path).stem, cfg.data.path, dataset.train.x, dataset.train.y, dataset.sha256
        )

        # The epochs that are left.
        if names.STOPPED not in run.tags or not saved:
            tracking_callbacks = [
                TrackEpochs(run, checkpoints, history, cfg.epochs),
                *built.callbacks,
                *([WatchCallbacks(run, built.callbacks)] if built.callbacks else []),
            ]
            # A bar with the time left; not in a sweep, where several jobs write to one terminal.
            verbose = 1 if sys.stdout.isatty() and not tracking.sweep else 0
            fit(model, cfg, dataset, tracking_callbacks, len(history), verbose)
        last = len(history) - 1
        if last + 1 < cfg.epochs:
            run.set_tags({names.STOPPED: str(len(history))})
        if built.callbacks:  # which may have set other weights at the end, such as the best
            checkpoints.save(Checkpoint.of(model, history))

        # The model, and the test set, which is read once, and not at all to choose a setting.
        if names.FINAL_WEIGHTS not in run.tags:
            images = dataset.train.x
            ink = ink_of(images)
            digests = run.log_model(model, last, images[:1], dataset.classes, ink.as_json() if ink else None)
            run.set_tags({names.FINAL_WEIGHTS: weights_digest(model), **digests})
        if names.TRAINING_SECONDS not in run.metrics:
            scores: dict[str, float] = {}
            if not tracking.tuning:
                scores, predicted = evaluate(built, dataset, cfg.test_shift)
                test = dataset.test
                run.log_figure(mistakes(test.x, test.y, predicted, dataset.classes, run.name), names.MISTAKES)
            seconds = sum(epoch[names.EPOCH_SECONDS] for epoch in history)
            run.log_metrics(scores | {names.TRAINING_SECONDS: seconds}, last)
    checkpoints.remove()
    return run.id, history[-1][names.VAL_ACCURACY]


def set_threads(threads: int | None) -> int:
    """Set the number of TensorFlow's threads, every core for None, and return it.

    TensorFlow takes it once in a process, before its first operation.
    """
    wanted = threads or cores()
    if tf.config.threading.get_intra_op_parallelism_threads() != wanted:
        tf.config.threading.set_intra_op_parallelism_threads(wanted)
        tf.config.threading.set_inter_op_parallelism_threads(wanted)
    return wanted


def fit(
    model: keras.Model,
    cfg: DictConfig,
    dataset: Dataset,
    callbacks: Sequence[keras.callbacks.Callback],
    trained: int = 0,
    verbose: int = 0,
) -> keras.callbacks.History:
    """Fit the model for the epochs after the first `trained` ones; return Keras's history of them."""
    epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
    # A run that goes on from another's weights does not see that one's order of examples again.
    seed_epoch = SeedEpoch(cfg.seed, epoch, first=cfg.epochs if cfg.start.optimizer else 0)
    classes = len(dataset.classes)
    return model.fit(
        training_batches(dataset.train, classes, cfg.batch_size, cfg.seed, epoch, cfg.augmentation),
        validation_data=evaluation_batches(dataset.validation, classes),
        initial_epoch=trained,
        epochs=cfg.epochs,
        shuffle=False,  # the batches are shuffled already
        verbose=verbose,
        callbacks=[seed_epoch, StopAtNan(cfg.optimizer.learning_rate), *callbacks],
    )


def evaluate(built: Built, dataset: Dataset, shift: int = 0) -> tuple[dict[str, float], np.ndarray]:
    """Read the test set; return its loss, accuracy and other metrics, and what each image was taken for.

    An image's probabilities are the mean over its views, which are shifted by up to `shift` pixels.
    """
    split, classes = dataset.test, len(dataset.classes)
    # Not `predict`: it would trace a function anew for each run of a sweep, and warn of that.
    probabilities = np.concatenate(
        [
            np.mean([built.model(view, training=False) for view in shifted(images, shift)], axis=0)
            for images, _ in evaluation_batches(split, classes)
        ]
    )
    predicted = probabilities.argmax(axis=1)
    losses = np.asarray(keras.losses.sparse_categorical_crossentropy(split.y, probabilities))
    scores = {
        names.TEST_LOSS: float(losses.mean()),
        names.TEST_ACCURACY: float((predicted == split.y).mean()),
    }
    for metric in built.metrics:
        metric.reset_state()
        metric.update_state(np.eye(classes, dtype=np.float32)[split.y], probabilities)
        scores[names.TEST + metric.name] = float(metric.result())
    return scores, predicted


def log_setting(run: Run, cfg: DictConfig, choices: Mapping[str, str], model: keras.Model) -> None:
    """Store all that the run was asked to do."""
    setting = {key: value for key, value in flatten(cfg).items() if not key.startswith((*TOLD, *OF_SWEEP))}
    resolved = {names.KERAS_OPTIMIZER + key: value for key, value in model.optimizer.get_config().items()}
    run.log_params({**choices, **setting, **resolved})  # precision is a choice and a setting
    run.log_text(redact(OmegaConf.to_yaml(cfg, resolve=True)), "config.yaml")
    lines: list[str] = []
    model.summary(print_fn=lambda line, **_: lines.append(line), line_length=100)
    run.log_text("\n".join(lines), "model.txt")


def name_alone(choices: Mapping[str, str]) -> str:
    """Return what a run outside of a sweep is called by, without the seed."""
    after = f" {choices['start']}" if choices["start"] != "fresh" else ""
    return f"{choices['optimizer']} {choices['model']}{after}"


def _checkpoints(found: Found, tracking: TrackingConfig, run_id: str) -> Checkpoints:
    folder, elsewhere = place_of(tracking, found.store, run_id)
    return Checkpoints(folder, found.identity.fingerprint, elsewhere)


def _place(arm: int) -> dict[str, str]:
    return {names.ARM: str(arm), names.COLOR: COLORS[arm % len(COLORS)]}


def _retried(tracking: TrackingConfig) -> dict[str, str]:
    return {names.RETRIES: str(tracking.retries)} if tracking.retries else {}


def _going_on(run: Run, tracking: TrackingConfig, commit: str, dirty: str) -> dict[str, str]:
    """Return the tags that change when another process goes on with a run; say what was lost."""
    lost = run.tags.get(names.LEARNED, "")
    if lost:
        log.warning("%s  callbacks begin anew; no checkpoint keeps %s", run.name, lost)
    return {
        names.RESUMES: str(int(run.tags.get(names.RESUMES, 0)) + 1),
        names.COMMIT: names.joined(run.tags.get(names.COMMIT), commit),
        names.DIRTY: str("true" in (dirty, run.tags.get(names.DIRTY))).lower(),
        **sweep_tags(tracking, run.tags),
        **_retried(tracking),
        **({names.NOT_KEPT: lost} if lost else {}),
    }
