"""What leaves the machine has no secret and no path of it, and says otherwise the same."""

import pandas as pd
import pytest

from handwriting.bundling.cleaning import Cleaner, cleaned, cleaner_of
from handwriting.compare import LoadedRuns
from handwriting.config import ROOT
from handwriting.tracking import Store

CLEANER = Cleaner({"/data": "data", "/data/mine.npz": "mine.npz", "sqlite:////s/mlflow.db": "STORE"})


@pytest.mark.parametrize(("text", "right"), {
    "tracking.uri=http://me:geheim@host/x epochs=2": "tracking.uri=http://***@host/x epochs=2",
    "+mail.password=geheim seed=0": "+mail.password=HIDDEN seed=0",
    "'callbacks=[{_target_: a.B, token: geheim}]'": "'callbacks=[{_target_: a.B, token: HIDDEN}]'",
    "[{'api_key': 'ge heim', 'units': 3}]": "[{'api_key': 'HIDDEN', 'units': 3}]",
    "  wandb_token: geheim\n  rate: 1": "  wandb_token: HIDDEN\n  rate: 1",
    "password: null\ntokenizer: bert\nmax_tokens: 512": "password: null\ntokenizer: bert\nmax_tokens: 512",
    "path: /data/mine.npz\nold: /data/other.npz": "path: mine.npz\nold: data/other.npz",
    "uri: sqlite:////s/mlflow.db": "uri: STORE",
    "/database /a/data ./data a/data": "/database .../data ./data a/data",
    "hydra.sweep.dir=/scratch/ann/jobs": "hydra.sweep.dir=.../jobs",
    "['/scratch/ann/a.npz', file:///b/c, sqlite:////d/e.db]": "['.../a.npz', .../c, .../e.db]",
    "http://host/a/b 1/2/3 --config-dir ~/a/b": "http://host/a/b 1/2/3 --config-dir ~/a/b",
}.items())  # fmt: skip
def test_a_setting_is_clean(text: str, right: str) -> None:
    assert CLEANER.settings(text) == right


def test_in_code_a_secret_is_what_is_written_out() -> None:
    assert CLEANER.code('token = tokens[0]\nTOKEN = "geheim"') == 'token = tokens[0]\nTOKEN = "HIDDEN"'


def test_code_loses_known_places_and_homes_only() -> None:
    code = "open('/data/mine.npz'); cd('/home/ann/conf', '/root/x', '/rooted', '/usr/share/x', './data')"
    right = "open('mine.npz'); cd('~/conf', '~/x', '/rooted', '/usr/share/x', './data')"
    assert CLEANER.code(code) == right


def test_runs_of_several_machines_are_clean_and_their_settings_stay_apart() -> None:
    runs = pd.DataFrame(
        {
            "run_id": ["a", "b"],
            "artifact_uri": ["file:///x/y/a", "file:///x/y/b"],
            "params.data.path": ["/one/place/set.npz", "/another/place/set.npz"],
            "params.tracking.uri": ["sqlite:////one/store/mlflow.db", None],
            "params.callbacks": ["[{'token': 'a'}]", "[{'token': 'b'}]"],
            "params.start": ["/one/place/set.npz.h5", f"{ROOT}/conf"],
            "tags.command": ["cd /one/store", "run /another/place/set.npz"],
        }
    )
    loaded = LoadedRuns("e", "s", runs, pd.DataFrame())
    found = cleaned(loaded, cleaner_of(Store("sqlite:////s/t/mlflow.db"), loaded)).runs
    assert list(found["params.data.path"]) == ["set.npz", "set.npz"]
    assert found["params.tracking.uri"][0] == "STORE"
    assert list(found["params.callbacks"]) == ["[{'token': 'HIDDEN'}]", "[{'token': 'HIDDEN'}] #2"]
    assert list(found["params.start"]) == [".../set.npz.h5", "./conf"]
    assert list(found["tags.command"]) == ["cd mlruns", "run set.npz"]
    assert list(found["artifact_uri"]) == list(runs["artifact_uri"]), "by which pictures are found"
