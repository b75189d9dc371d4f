"""The table of keys, and what a mistyped one means."""

import pytest
from omegaconf import OmegaConf

from conftest import CONF
from handwriting.config import compose, flatten
from handwriting.keys import KEYS, key_of, meant, table

KNOWN = [
    "optimizer", "model", "optimizer.learning_rate", "optimizer.rho", "optimizer.weight_decay", "data.path",
    "data.limit_train", "start.optimizer", "start.optimizer.learning_rate", "batch_size", "epochs", "seed",
    "label_smoothing", "hydra.launcher.jobs",
]  # fmt: skip


@pytest.mark.parametrize(
    ("mistyped", "right"),
    [
        ("optimizer.lr", "optimizer.learning_rate"),
        ("start.optimizer.lr", "start.optimizer.learning_rate"),
        ("lr", "optimizer.learning_rate"),
        ("wd", "optimizer.weight_decay"),
        ("bs", "batch_size"),
        ("batchsize", "batch_size"),
        ("Batch-Size", "batch_size"),
        ("optimizer.rate", "optimizer.learning_rate"),
        ("optimizer.learnin_rate", "optimizer.learning_rate"),
        ("learning_rate", "optimizer.learning_rate"),
        ("optimiser.lr", "optimizer.learning_rate"),
        ("epoch", "epochs"),
        ("n_jobs", "hydra.launcher.jobs"),
        ("OPTIMIZER", "optimizer"),
        ("data.pth", "data.path"),
        ("seed", ""),  # itself
        ("optimizer.nesterov", ""),
        ("gpu", ""),
    ],
)
def test_a_mistyped_key_means_the_one_that_is_alike_in_its_last_part(mistyped: str, right: str) -> None:
    assert meant(mistyped, KNOWN) == right


def test_every_key_of_every_file_is_in_the_table() -> None:
    """The schema's are in the composed config; those of the open groups in their members' files."""
    found = set(flatten(compose()))
    for file in CONF.glob("*/*.yaml"):
        if file.parent.name in ("optimizer", "schedule", "model"):
            found |= {f"{file.parent.name}.{name!s}" for name in OmegaConf.load(file)}
    assert found <= set(KEYS)
    assert {key for key in set(KEYS) - found if not key.startswith("hydra.launcher.")} == set()


def test_the_optimizer_that_a_run_starts_from_has_the_entries_of_the_optimizer() -> None:
    assert key_of("start.optimizer.rho") == KEYS["optimizer.rho"]
    assert key_of("optimizer.clipnorm") is None


def test_help_shows_each_key_as_it_is_given_with_what_it_is_in_lines_of_100_letters() -> None:
    path = "/a/long/folder" * 10 + "/images.npz"
    lines = table(
        {"seed": 3, "data.path": path, "data.limit_test": None, "model.mine": True, "tracking.sweep": "x"}
    ).splitlines()
    assert lines[0].split(maxsplit=1) == [
        "seed=3",
        "initial weights, dropout, order of examples, validation split:",
    ]
    assert lines[2].startswith("data.path=…")
    assert lines[2].endswith("folder/images.npz")
    assert "data.limit_test=null" in [line.split(" ")[0] for line in lines]
    assert lines[-1] == "model.mine=true"  # of an open group, and not in the table
    assert max(map(len, lines)) == 100
    assert not any("tracking.sweep" in line for line in lines), "no user gives it"
