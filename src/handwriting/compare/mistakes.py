"""The pictures of what runs got wrong, which they left in the store."""

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from handwriting.compare.comparison import Comparison
from handwriting.tracking import Store, names


def mistakes_of(store: Store, comparison: Comparison) -> dict[str, bytes]:
    """Return the pictures of what the first seed's run of two arms got wrong, PNG, by heading.

    Of more than two arms, those of the baseline and of the best. Runs that have none, such as those of an
    older version, are passed over.
    """
    first = comparison.runs.sort_values("seed").drop_duplicates("arm").set_index("arm")
    arms = list(comparison.arms.index)
    if len(arms) > 2:
        arms = list(dict.fromkeys([comparison.baseline, comparison.choice.best]))
    found = {}
    for arm in [arm for arm in arms if arm in first.index]:
        run = first.loc[arm]
        picture = _artifact(store, f"{run['artifact_uri']}/{names.MISTAKES}")
        if picture is not None:
            found[f"What {arm} got wrong, seed {run['seed']}"] = picture
    return found


def _artifact(store: Store, address: str) -> bytes | None:
    """Return an artifact of a run, or None where there is none."""
    if address.startswith("file:"):  # MLflow takes a second to come to the same
        path = Path(url2pathname(urlsplit(address).path))
        return path.read_bytes() if path.exists() else None
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        return Path(mlflow.artifacts.download_artifacts(address, tracking_uri=store.uri)).read_bytes()
    except (MlflowException, OSError):
        return None
