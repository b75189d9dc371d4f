"""What the tests share: the composed config, one real store for all of them, and one way to train."""

import shlex
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from handwriting.config import ROOT, TrackingConfig, compose
from handwriting.data import Dataset, load_dataset
from handwriting.tracking import Store
from handwriting.tracking.identity import identify

if TYPE_CHECKING:  # 5 s to import, and tests of the config need neither
    from mlflow.entities import Run

CONF = ROOT / "conf"
ONLY_TESTS = ROOT / ".venv" / "tests"  # what only tests need: tests/requirements.lock, installed by make test
sys.path.append(str(ONLY_TESTS))
SMALL = ("model=small_cnn", "data.limit_train=500", "data.limit_test=200", "data.validation_size=100")
CHOICES = {
    "optimizer": "adam", "schedule": "constant", "model": "small_cnn", "data": "mnist",
    "augmentation": "none", "start": "fresh",
}  # fmt: skip

# Half a minute and more each. The first waits most of its time, while the others compute.
LONGEST = (
    "test_cluster.py", "test_server.py", "test_leases.py", "test_checkpoints_elsewhere.py", "test_batch.py",
    "test_sync.py", "test_resume.py", "test_cli.py", "test_run.py",
    "test_page.py",
    "test_full_disk.py", "test_building.py", "test_terminal.py", "test_ui.py", "test_bench.py",
    "test_moved_store.py", "test_bundle.py", "test_server_command.py", "test_sql.py", "test_following.py",
)  # fmt: skip
Opened = tuple[Store, str]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that all processes end at the same time."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session", autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Name one store for all tests and their processes: not the user's; making one takes MLflow 3 s."""
    with pytest.MonkeyPatch.context() as patch:
        uri = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "HYDRA_FULL_ERROR"):
            patch.delenv(name, raising=False)
        yield uri


@pytest.fixture(autouse=True)
def _back_to_the_store(store: str) -> Iterator[None]:
    """Undo what opening another store does to the whole process and its environment."""
    yield
    if "mlflow" in sys.modules:
        sys.modules["mlflow"].set_tracking_uri(store)


@pytest.fixture
def tracking(request: pytest.FixtureRequest, store: str) -> TrackingConfig:
    return TrackingConfig(store, request.node.name)


@pytest.fixture
def opened(tracking: TrackingConfig) -> Opened:
    """A store, and the id of an experiment of the test's own: the first arguments of `tracked_run`."""
    store = Store(tracking.uri)
    return store, store.open_experiment(tracking.experiment_name)


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    return load_dataset(compose(*SMALL).data, seed=0)


def jobs_of(command: str) -> list[list[str]]:
    """Return the overrides of each job that a `python -m handwriting.train ...` starts."""
    overrides = [word for word in shlex.split(command)[3:] if word != "-m"]
    parsed = OverridesParser.create().parse_overrides(overrides)
    return [job for batch in BasicSweeper.split_arguments(parsed, None) for job in batch]


def fit_tracked(cfg: DictConfig, dataset: Dataset, choices: Mapping[str, str] = CHOICES) -> "Run":
    """Train as the command does, and return the run as the store has it."""
    from handwriting.tracking.resume import find_run
    from handwriting.training import train_run

    identity = identify(cfg, dataset.sha256)
    with find_run(Store(cfg.tracking.uri), cfg.tracking.experiment_name, identity, cfg.force) as found:
        train_run(cfg, dataset, choices, found)
    return runs_in(cfg.tracking)[0]


def runs_in(tracking: TrackingConfig) -> "list[Run]":
    """Return all runs of an experiment, newest first."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking.uri)
    experiment = client.get_experiment_by_name(tracking.experiment_name)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"]))
