"""Which store is meant: the one that a user names, this machine's own, the one that all share.

Importing it makes the resolvers that conf/ uses known to Hydra.
"""

import os
from pathlib import Path

from omegaconf import OmegaConf

from handwriting.config import DIRECT, ROOT, TrackingConfig
from handwriting.errors import UserError
from handwriting.tracking.store import URI_VARIABLE, Store


def default_uri() -> str:
    """Return the store that MLFLOW_TRACKING_URI names, else the one under mlruns/.

    Raises:
        UserError: the current directory is another checkout, such as a copy whose .venv was copied with it.
    """
    here = Path("src/handwriting/__init__.py")
    if here.exists() and not here.samefile(ROOT / here):
        raise UserError(
            f"this folder is a checkout, and the code that runs is that of another one, {ROOT}. "
            "make setup builds this one's own .venv"
        )
    return os.environ.get(URI_VARIABLE) or local_uri()


def local_uri() -> str:
    """Return the store under mlruns/, of this machine."""
    return f"sqlite:///{ROOT}/mlruns/mlflow.db"


def stores_of(tracking: TrackingConfig) -> tuple[Store, Store | None]:
    """Return the store that runs are written to, and the shared one that they are copied to, if there is one.

    Raises:
        UserError: the URI is neither a database nor a server.
    """
    named = Store(tracking.uri)
    if named.database is not None or tracking.mode == DIRECT:
        return named, None
    return Store(local_uri()), named


OmegaConf.register_new_resolver("default_store", default_uri, replace=True)
OmegaConf.register_new_resolver("store_folder", lambda uri: str(Store(uri).folder), replace=True)
