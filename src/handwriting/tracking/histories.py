"""The points of many runs in few requests where they come out of a server. Importing this imports MLflow."""

from collections.abc import Iterator, Sequence

from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from handwriting.tracking.store import Store

# What the server's own UI asks. MLflow's client has one run and one metric in a request: of a thousand runs,
# minutes.
ADDRESS = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
RUNS, POINTS = 100, 25_000  # that it answers for at once, at most

Point = tuple[str, int, str, float]


def points_of(store: Store, run_ids: Sequence[str], key: str) -> Iterator[Point]:
    """Return all points of one metric of several runs: run_id, step, key, value, in the order of time.

    Args:
        store: any; a database is asked for each run by itself.
        run_ids: of any number of runs.
        key: the metric's.

    Raises:
        MlflowException: the server does not answer.
    """
    if not store.uri.startswith("http"):
        yield from _of_each(store, run_ids, key)
        return
    for start in range(0, len(run_ids), RUNS):
        yield from _of_some(store, run_ids[start : start + RUNS], key)


def _of_some(store: Store, run_ids: Sequence[str], key: str) -> list[Point]:
    asked = {"run_id": list(run_ids), "metric_key": key, "max_results": POINTS}
    who = get_default_host_creds(store.uri)  # type: ignore[no-untyped-call]
    answer = http_request(who, ADDRESS, "GET", params=asked, raise_on_status=False)  # type: ignore[no-untyped-call]
    if answer.status_code == 200 and len(found := answer.json()["metrics"]) < POINTS:
        return [(point["run_id"], point["step"], key, point["value"]) for point in found]
    if answer.status_code == 200 and len(run_ids) > 1:  # more than it gives at once
        half = len(run_ids) // 2
        return [*_of_some(store, run_ids[:half], key), *_of_some(store, run_ids[half:], key)]
    return list(_of_each(store, run_ids, key))  # with more points, or of a server without a UI of its own


def _of_each(store: Store, run_ids: Sequence[str], key: str) -> Iterator[Point]:
    for run_id in run_ids:
        for point in store.client.get_metric_history(run_id, key):
            yield run_id, point.step, key, point.value
