"""What others have finished is brought here, once, and where it is wanted."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
from shared_runs import a_run, bring, ends_at, new_store, runs_of, unequal

from handwriting.sharing import Wanted
from handwriting.sharing.checking import differences
from handwriting.sharing.exchange import Exchange
from handwriting.tracking import Store, names
from handwriting.tracking.provenance import computing_tags
from handwriting.tracking.resume import find_run

SWEEP = "signs-0123abcd"
WANTED = Wanted("signs", SWEEP, ("rmsprop seed 0",))
REPORTS = f"signs{names.REPORTS}"


@pytest.fixture
def shared(tmp_path: Path) -> Store:
    """A shared store with a finished run of another machine, of the sweep."""
    a_run(new_store(tmp_path / "other"), tags=computing_tags())
    store = new_store(tmp_path / "shared")
    bring(new_store(tmp_path / "other"), store)
    return store


@pytest.fixture
def own(tmp_path: Path) -> Store:
    return new_store(tmp_path / "own")


def fetch(own: Store, shared: Store, wanted: Wanted = WANTED) -> list[str]:
    """Fetch; return the ids of all runs that are here then."""
    list(Exchange(own, shared).fetch(wanted))
    return runs_of(own)


def test_a_finished_run_of_another_machine_comes_whole_and_once(own: Store, shared: Store) -> None:
    (there,) = runs_of(shared)
    (here,) = fetch(own, shared)
    assert fetch(own, shared) == [here]
    exchange = Exchange(shared, own)  # looked at the other way round
    assert differences(exchange.out, there, here) == []
    origins = [
        store.client.get_run(run).data.tags[names.ORIGIN] for store, run in ((own, here), (shared, there))
    ]
    assert origins[0] == origins[1], "it is known by the machine that made it"
    assert bring(own, shared) == [], "and does not go back as another one"
    assert runs_of(shared) == [there]


def test_a_run_that_was_written_straight_to_the_shared_store_is_fetched_too(
    own: Store, tmp_path: Path
) -> None:
    shared = new_store(tmp_path / "straight")
    there = a_run(shared)
    (here,) = fetch(own, shared)
    assert differences(Exchange(shared, own).out, there, here) == []
    assert fetch(own, shared) == [here]
    assert bring(own, shared) == []


def test_by_its_fingerprint_a_run_of_another_sweep_is_found(
    own: Store, shared: Store, tmp_path: Path
) -> None:
    other = new_store(tmp_path / "third")
    a_run(other, "rmsprop seed 0", {names.SWEEP: "others-4567abcd"})
    a_run(other, "sgd seed 0", {names.SWEEP: "others-4567abcd"})
    bring(other, shared)
    fetch(own, shared)
    found = {own.client.get_run(run).info.run_name for run in runs_of(own)}
    assert found == {"adam seed 0", "rmsprop seed 0"}


@pytest.mark.parametrize(
    "case", ["unfinished", "trained here", "finished here", "deleted here", "no experiment"]
)
def test_what_is_not_lacking_is_left_there(own: Store, shared: Store, case: str) -> None:
    (there,) = runs_of(shared)
    experiment = own.open_experiment("signs")
    if case == "unfinished":
        shared.client.update_run(there, "RUNNING")
        assert fetch(own, shared) == []
    elif case == "trained here":
        with own.lock_of(experiment, "adam seed 0"):
            assert fetch(own, shared) == []
        assert len(fetch(own, shared)) == 1
    elif case == "finished here":
        run = a_run(own)
        assert fetch(own, shared) == [run]
    elif case == "deleted here":
        own.client.delete_run(*fetch(own, shared))
        assert fetch(own, shared) == []
    else:
        assert fetch(own, shared, Wanted("letters", SWEEP, ())) == []


def test_a_fetch_that_is_killed_is_finished_by_the_next_one(shared: Store, tmp_path: Path) -> None:
    (there,) = runs_of(shared)
    with ends_at(10**6, KeyboardInterrupt()) as made:
        fetch(new_store(tmp_path / "all"), shared)
    identity: Any = SimpleNamespace(fingerprint="adam seed 0", setting_digest="", code={})
    for call in range(1, len(made)):
        own = new_store(tmp_path / f"own-{call}")
        with ends_at(call, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
            fetch(own, shared)
        (begun,) = runs_of(own)
        if own.client.get_run(begun).info.status != "FINISHED":
            mlflow.set_tracking_uri(own.uri)
            with find_run(own, "signs", identity) as found:
                assert found.run is None, "it is not gone on with: it is another machine's"
        assert fetch(own, shared) == [begun]
        assert differences(Exchange(shared, own).out, there, begun) == []


def test_a_run_that_was_trained_beside_a_copy_that_was_begun_stays_and_the_copy_is_finished(
    own: Store, shared: Store
) -> None:
    with ends_at(3, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        fetch(own, shared)
    a_run(own)
    fetch(own, shared)
    assert [own.client.get_run(run).info.status for run in runs_of(own)] == ["FINISHED"] * 2


def test_a_sweep_here_that_uses_a_run_of_there_is_known_there_and_stays_known(
    own: Store, shared: Store, tmp_path: Path
) -> None:
    (there,) = runs_of(shared)
    (here,) = fetch(own, shared)
    more = {names.SWEEP: f"{SWEEP} mine-89abcdef", names.arm_of("mine-89abcdef"): "1 adam"}
    for key, value in more.items():
        own.client.set_tag(here, key, value)
    bring(own, shared)
    other = new_store(tmp_path / "other")
    other.client.set_tag(runs_of(other)[0], "changed", "yes")
    bring(other, shared)  # which knows nothing of that sweep
    tags = shared.client.get_run(there).data.tags
    assert tags["changed"] == "yes"
    assert {key: tags[key] for key in more} == more
    assert unequal(other, shared) == []


def test_the_verdict_stands_above_the_runs_there_as_the_last_report_said_it(
    own: Store, shared: Store
) -> None:
    experiment = own.open_experiment("signs")
    a_run(own, "sgd seed 0")
    for verdict in ("too few seeds to tell", "better"):
        own.client.set_experiment_tag(experiment, names.DESCRIPTION, verdict)
        own.client.create_run(own.open_experiment(REPORTS), tags={names.REPORT: SWEEP, names.SWEEP: SWEEP})
        bring(own, shared)
        there = shared.client.get_experiment_by_name("signs")
        assert there is not None
        assert there.tags[names.DESCRIPTION] == verdict


def test_only_what_is_wanted_is_copied(own: Store, shared: Store) -> None:
    runs = {
        name: a_run(own, name, {names.SWEEP: sweep}) for name, sweep in (("sgd", "one-00000001"), ("x", ""))
    }
    exchange = Exchange(own, shared)
    brought = [run.info.run_id for run, _ in exchange.bring([Wanted("signs", "one-00000001", ())])]
    brought += [run.info.run_id for run, _ in exchange.bring([Wanted("signs", "", ("x",))])]
    assert brought == [runs["sgd"], runs["x"]]
