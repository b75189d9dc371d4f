"""The vocabulary of a store: its tags, parameters and metrics, each metric's unit and its direction."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

# Tags of a run.
SWEEP = "sweep"  # the names of the sweeps that it belongs to, separated by spaces: `words`, `joined`
ARM = "arm"  # the place of its arm in the sweep that made it, from 0
ARM_OF = "arm."  # begins the tag that has its arm's place and label in one of its sweeps: `arm_of`
FINGERPRINT = "fingerprint"  # of all that determines the result
SETTING = "setting"  # the same without the code
CODE = "code.sha256"
DATA = "data.sha256"
INITIAL_WEIGHTS, FINAL_WEIGHTS = "weights.initial", "weights.final"
MODEL, PICTURES = "model.sha256", "pictures.sha256"  # of its two files; set together with FINAL_WEIGHTS
COMMIT, DIRTY = "git.commit", "git.dirty"
RETRIES = "retries"  # how often a launcher began a run's job again, because its process or node was lost
FAILURE, RESUMES, REPEATS, STARTS_FROM = "failure", "resumes", "repeats", "starts_from"
STOPPED = "stopped"  # the epochs done, where a callback ended the training
LEARNED = "callbacks.learned"  # the state of a user's callbacks that changes; no checkpoint keeps it
TUNING = "tuning"  # the arm that a run was tried for; it has not read the test set, and enters no verdict
NOT_KEPT = "callbacks.not_kept"  # the part of it that was lost when the run was gone on with
HOST, CPU, THREADS, ONEDNN, COMMAND = "host", "cpu", "threads", "onednn", "command"
LIBRARIES = ("tensorflow", "keras", "numpy")
PRECISION = "precision"  # Keras's policy: float32, mixed_bfloat16 or mixed_float16
BETTER = "better."  # begins the tag that says whether "more" or "less" is better of a metric of the user's
# What, besides the settings, decides a result's last bits or its seconds.
COMPUTING = (CODE, COMMIT, *LIBRARIES, CPU, ONEDNN, THREADS)
# Tags of a report, and of an experiment.
REPORT, VERDICT = "report", "verdict"
PLAN_OF = "plan."  # begins the tag of an experiment that has one of its sweeps' plans: `plan_of`
TUNING_OF = "tuning."  # begins the tag of an experiment that has a tuning: `tuning_of`
PAIRS = "pairs"  # metric of a report: the paired seeds that it is on
REPORTS = "-reports"  # ends the name of an experiment that holds reports, no training runs
TRIED = "-tuning"  # ends the name of one that holds the runs that chose the settings of another's
LONGEST_TAG = 5000  # letters that MLflow takes
# Tags of a copy in another store, and of a store.
ORIGIN = "origin"  # STORE/RUN of what a run is a copy of; of a model STORE/MODEL
STATE = "origin.state"  # digest of what a copy was made of, set last
CREATED = "origin.created"  # of a model's copy: when the first one was made, in ms since 1970
STORE_ID = "store"  # of a store's first experiment: the store's own id
# Of a lease, which is a run of an experiment of its own, and of nothing else.
LEASES = "leases"  # the experiment
LEASE, BEAT = "lease", "beat"  # tags: what it is the right to; when it was renewed last, in ms since 1970
# MLflow's own.
DESCRIPTION, COLOR, RUN_NAME = "mlflow.note.content", "mlflow.runColor", "mlflow.runName"

KERAS_OPTIMIZER = "keras_optimizer."  # begins a parameter that Keras made of those of `optimizer`
MISTAKES = "mistakes.png"  # artifact: what the run got wrong
CODE_FILE = "code.json"  # artifact: a digest of each definition of the code

# Metrics, as Keras names them; VAL or TEST before a name says of which images.
VAL, TEST = "val_", "test_"
ACCURACY, LOSS = "accuracy", "loss"
VAL_ACCURACY, VAL_LOSS = "val_accuracy", "val_loss"
TEST_ACCURACY, TEST_LOSS = "test_accuracy", "test_loss"
LEARNING_RATE, EPOCH_SECONDS, TRAINING_SECONDS = "learning_rate", "epoch_seconds", "training_seconds"
BEST_EPOCH = "best_epoch"  # made by a comparison; counted from 1


def words(tag: object) -> list[str]:
    """Return the names in a tag that holds several, such as SWEEP; none where it is missing."""
    return tag.split() if isinstance(tag, str) else []


def joined(tag: object, more: str) -> str:
    """Return a tag of several names with `more` of them at its end, each once."""
    return " ".join(dict.fromkeys([*words(tag), *more.split()]))


def arm_of(sweep: str) -> str:
    """Return the key of the tag that has a run's arm in a sweep, its place and its label: "0 adam".

    The digest alone stands for the sweep: MLflow takes few characters in a key.
    """
    return ARM_OF + sweep.rpartition("-")[2]


def plan_of(sweep: str) -> str:
    """Return the key of an experiment's tag that has a sweep's plan, see `plans.py`."""
    return PLAN_OF + sweep.rpartition("-")[2]


def tuning_of(sweep: str) -> str:
    """Return the key of an experiment's tag that has a tuning, by the sweep that chooses: `tunings.py`."""
    return TUNING_OF + sweep.rpartition("-")[2]


def base(metric: str) -> str:
    """Return a metric's name without val_ or test_."""
    return metric.removeprefix(VAL).removeprefix(TEST)


@dataclass(frozen=True)
class Metric:
    """How a metric is read and shown.

    Args:
        name: as it is stored.
        more_is_better: None where that is not known.
        factor: what a stored value is multiplied by to be shown.
        unit: of a shown value; of the loss, for the axis of a figure only.
        decimals: of a shown value; None for four significant digits.
    """

    name: str
    more_is_better: bool | None = None
    factor: float = 1.0
    unit: str = ""
    decimals: int | None = None

    @property
    def title(self) -> str:
        """Return its name and unit, for a column of a table."""
        return f"{self.name}, {self.unit}" if self.unit in ("%", "s") else self.name

    @property
    def axis(self) -> str:
        """Return its name in words and its unit, for an axis."""
        name = self.name.replace(VAL, "validation ").replace("_", " ")
        return f"{name} ({self.unit})" if self.unit else name

    @property
    def points(self) -> str:
        """Return the unit of a difference of two values: " points" of per cent, else nothing."""
        return " points" if self.unit == "%" else ""

    def shown(self, value: float) -> str:
        """Return a value as text, without its unit."""
        if math.isnan(value):
            return "-"
        scaled = value * self.factor
        return f"{scaled:.4g}" if self.decimals is None else f"{scaled:.{self.decimals}f}"

    def change(self, value: float) -> str:
        """Return a difference of two values as text, with its sign."""
        if math.isnan(value):
            return "-"
        return f"{value * self.factor:+.3g}" if self.unit != "%" else f"{value * self.factor:+.3f}"


_KNOWN: dict[str, tuple] = {
    ACCURACY: (True, 100.0, "%", 3),
    LOSS: (False, 1.0, "cross-entropy, nats"),
    EPOCH_SECONDS: (False, 1.0, "s", 1),
    TRAINING_SECONDS: (False, 1.0, "s", 1),
    BEST_EPOCH: (False, 1.0, "", 1),
}


def metric(name: str, tags: Mapping[str, object] | None = None) -> Metric:
    """Return how a metric is read: ours by its name, a user's by the tag BETTER of a run that has it."""
    if base(name) in _KNOWN:
        return Metric(name, *_KNOWN[base(name)])
    return Metric(name, {"more": True, "less": False}.get(str((tags or {}).get(BETTER + base(name)))))
