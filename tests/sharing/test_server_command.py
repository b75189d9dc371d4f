"""`python -m handwriting.server` on the real thing: a PostgreSQL, an object store, names and passwords."""

import http.client
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from shared_runs import a_run, new_store, runs_of

from clusters import PROGRAMS, SHOWN, SKIPPED, Bucket, Cluster
from conftest import ONLY_TESTS
from handwriting.config import ROOT
from handwriting.errors import UserError
from handwriting.sharing.copying import store_id
from handwriting.tracking import ROOT_SETTING, Store, names
from handwriting.tracking.run import tracked_run
from servers import alive, descendants, free_port, wait_for

START = [sys.executable, "-m", "handwriting.server"]
PASSWORD = "taken out of thin air"  # noqa: S105  # of this server alone
USER = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
EXPERIMENTS = "/api/2.0/mlflow/experiments/search?max_results=1"
MISSING = [name for name in ("psycopg", "boto3", "flask_wtf") if not importlib.util.find_spec(name)]

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"{MISSING} are missing: make extras"),
    pytest.mark.skipif(not ONLY_TESTS.exists(), reason="moto is missing: make test"),
]


class Process:
    """A command in a folder of its own, and what it prints."""

    def __init__(self, folder: Path, command: list[str], **environment: str):
        self.folder, self.out, self.environment = folder, folder / "out", environment
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=out, stderr=out, env=os.environ | environment,
                start_new_session=True,
            )  # fmt: skip

    def printed(self) -> str:
        assert self.process.poll() is None, self.out.read_text()
        return self.out.read_text()

    def family(self) -> list[int]:
        return [self.process.pid, *descendants(self.process.pid)]

    def kill(self) -> None:
        for pid in self.family():
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


class Server(Process):
    def __init__(self, folder: Path, *options: str, **environment: str):
        self.port = free_port()
        super().__init__(folder, [*START, "--port", str(self.port), *options], **environment)
        self.address = f"http://127.0.0.1:{self.port}"

    def ready(self) -> "Server":
        wait_for(lambda: "Ctrl-C ends it" in self.printed())
        return self

    def status(
        self, path: str = EXPERIMENTS, body: object = None, login: str = f"admin:{PASSWORD}", **headers: str
    ) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        if login:
            headers["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
        try:
            headers = {"Content-Type": "application/json", **headers}
            connection.request("POST" if body else "GET", path, json.dumps(body) if body else None, headers)
            return connection.getresponse().status
        finally:
            connection.close()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the code: what is beside a database, users among it, is in the checkout's mlruns/."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("src", "conf"):
        shutil.copytree(ROOT / name, folder / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder / "src"))
        yield folder


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with Bucket(tmp_path_factory.mktemp("objects")) as bucket:
        yield bucket


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if not PROGRAMS:
        pytest.skip(SKIPPED)
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def starting(checkout: Path) -> Iterator[Server]:
    """A server on SQLite for this machine, which starts while the other does: each takes 15 s."""
    folder = checkout / "plain"
    folder.mkdir()
    server = Server(folder, "--database", f"sqlite:///{folder}/store/mlflow.db")
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def plain(starting: Server) -> Server:
    return starting.ready()


@pytest.fixture(scope="module")
def team(starting: Server, checkout: Path, bucket: Bucket, cluster: Cluster) -> Iterator[Server]:
    """One on PostgreSQL and an object store, for other machines too, with passwords."""
    words = ["--host", "0.0.0.0", "--names", "tracking.lab", "--auth", "--artifacts", "s3://runs/of/all"]  # noqa: S104
    secrets = {"MLFLOW_BACKEND_STORE_URI": cluster.database("team"), "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD}
    server = Server(checkout, *words, **secrets)
    try:
        yield server.ready()
    finally:
        server.kill()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = new_store(tmp_path_factory.mktemp("source"))
    a_run(store)
    return store


@pytest.fixture(scope="module")
def synced(team: Server, source: Store) -> subprocess.CompletedProcess[str]:
    return sync(source, team, **USER)


def sync(source: Store, server: Server, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "handwriting.sync",
        "--uri",
        source.uri,
        "--to",
        server.address,
        "--check",
    ]
    env = {name: value for name, value in os.environ.items() if name not in Bucket.KEYS} | environment
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_a_run_is_the_same_in_postgresql_and_an_object_store(
    synced: subprocess.CompletedProcess[str], bucket: Bucket
) -> None:
    assert (synced.returncode, synced.stderr) == (0, "")
    assert synced.stdout.splitlines()[-1] == "runs compared: 1, differences: 0"
    asked = bucket.asked()
    assert re.search(r'"PUT /runs/of/all/1/\w+/artifacts/config\.yaml', asked)
    assert "X-Amz-Signature" not in asked, "its files come through the server, not past it"


def test_a_run_is_the_same_on_sqlite_and_in_a_folder(plain: Server, source: Store) -> None:
    done = sync(source, plain)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "runs compared: 1, differences: 0"
    assert len(list((plain.folder / "store" / "artifacts").rglob("config.yaml"))) == 1
    client = MlflowClient(plain.address)
    places = {found.artifact_location for found in client.search_experiments()}
    assert places == {"mlflow-artifacts:/0", "mlflow-artifacts:/1"}
    assert {path.name for path in plain.folder.iterdir()} == {"out", "store"}, "the current directory"


def test_passwords_are_in_no_command_line_and_in_nothing_printed(team: Server) -> None:
    secret = (*SHOWN, PASSWORD, Bucket.KEYS["AWS_SECRET_ACCESS_KEY"])
    family = team.family()
    assert len(family) > 2
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in family]
    assert "s3://runs/of/all" in "".join(lines)
    for part in secret:
        assert part not in "".join(lines)
        assert part not in team.printed()


def test_a_colleague_is_told_what_to_set(team: Server, plain: Server) -> None:
    for server, name in ((team, "tracking.lab"), (plain, "127.0.0.1")):
        assert f"  export MLFLOW_TRACKING_URI=http://{name}:{server.port}\n" in server.printed()
        assert ("export MLFLOW_TRACKING_PASSWORD=" in server.printed()) == (server is team)


def test_only_who_has_a_password_is_answered(team: Server, source: Store) -> None:
    assert team.status() == 200
    for login in ("", "admin:password1234", "admin:another one of 12"):
        assert team.status(login=login) == 401
        for way in ("artifacts?path=of", "artifacts/1/x"):
            assert team.status(f"/api/2.0/mlflow-artifacts/{way}", login=login) == 401
    done = sync(source, team)
    assert done.returncode == 1
    assert re.fullmatch(r"error: http://127\.0\.0\.1:\d+: .* error code 401 .*\n", done.stderr)


@pytest.mark.usefixtures("synced")
def test_its_database_alone_is_refused_to_a_run_whose_files_go_through_it(
    team: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ROOT_SETTING, "s3://runs/direct")
    with pytest.raises(
        UserError, match=r"the files of the experiment 'signs' go through a server: name that"
    ):
        Store(team.environment["MLFLOW_BACKEND_STORE_URI"]).open_experiment("signs")


def test_without_a_server_files_go_into_the_object_store(
    cluster: Cluster, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ROOT_SETTING, "s3://runs/direct")
    store = Store(cluster.database("direct"))
    with tracked_run(store, store.open_experiment("signs"), "adam seed 0", {}) as run:
        run.log_text("seed: 0\n", "config.yaml")
    assert f'"PUT /runs/direct/{run.id}/artifacts/config.yaml' in bucket.asked()
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda _: None)
        with pytest.raises(
            UserError, match=r"s3://runs/direct needs boto3, which is not installed: make ext"
        ):
            store.open_experiment("signs")


@pytest.mark.usefixtures("synced")
def test_another_user_adds_runs_to_the_same_experiment(team: Server, tmp_path: Path) -> None:
    body = {"username": "bob", "password": "bobs own password"}
    assert team.status("/api/2.0/mlflow/users/create", body) == 200
    own = new_store(tmp_path)
    a_run(own)
    bob = {"MLFLOW_TRACKING_USERNAME": "bob", "MLFLOW_TRACKING_PASSWORD": body["password"]}
    done = sync(own, team, **bob)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "runs compared: 1, differences: 0"
    # What a lost answer leaves: he may delete it, in an experiment that somebody else made.
    run = own.client.get_run(runs_of(own)[0])
    own.client.set_tag(run.info.run_id, "changed", "yes")
    twin = {
        "experiment_id": "1", "start_time": run.info.start_time, "run_name": run.info.run_name,
        "tags": [{"key": names.ORIGIN, "value": f"{store_id(own)}/{run.info.run_id}"}],
    }  # fmt: skip
    assert team.status("/api/2.0/mlflow/runs/create", twin, f"bob:{body['password']}") == 200
    done = sync(own, team, **bob)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.splitlines()[-1] == "runs compared: 1, differences: 0"


def test_what_its_passwords_rest_on_is_its_owners_alone(team: Server, checkout: Path) -> None:
    for name in ("users.db", "secret_key"):
        assert stat.S_IMODE((checkout / "mlruns" / "server" / name).stat().st_mode) == 0o600
    assert PASSWORD not in (checkout / "mlruns" / "server" / "users.ini").read_text()


@pytest.mark.parametrize("host", ["evil.example", "10.1.2.3", "10.1.2.3:{port}", "tracking.lab.evil.example"])
def test_a_foreign_host_name_is_refused(team: Server, plain: Server, host: str) -> None:
    for server in (team, plain):
        assert server.status(Host=host.format(port=server.port)) == 403


def test_the_page_may_write_and_a_foreign_page_may_not(team: Server) -> None:
    own = {"Host": f"tracking.lab:{team.port}"}
    for page, answer in (
        (f"http://tracking.lab:{team.port}", 200),
        ("https://tracking.lab", 200),
        ("http://evil", 403),
    ):
        assert team.status(body={"max_results": 1}, Origin=page, **own) == answer


def test_it_listens_where_it_is_told(team: Server, plain: Server) -> None:
    for server, reached in ((team, True), (plain, False)):
        with socket.socket() as probe:  # Linux answers on all of 127.0.0.0/8
            assert (probe.connect_ex(("127.0.0.2", server.port)) == 0) == reached


@pytest.mark.parametrize(("words", "said"), {
    "--port {port}": r"port \d+ cannot be used",
    "--host no.invalid": r"there is no host no\.invalid",
    "--names *.lab": r"a name has letters, digits, points and hyphens, and no port\. Received: \*\.lab",
    "--database postgresql://me:geheim@db/x": r"a password in a command line is seen by all .* in ~/\.pgpass",
    "--database postgresql://db/x?password=geheim": r"a password in a command line is seen by all",
    "--database http://lab:5000": r"the store of a server is a database, not a server",
    "--database postgresql://me@127.0.0.1:9/x": r"the store postgresql://\S+ cannot be opened: .* refused",
    "--artifacts {out}": r"--artifacts: \S+out cannot be written",
    "--artifacts gs://runs": r"--artifacts must be a folder or s3://BUCKET/FOLDER\. Received: gs://runs",
    "--artifacts s3://others/x": r"--artifacts: s3://others/x does not answer: .* Not Found",
    "--auth": r"the first user, .* needs a password, one of 12 letters or more: export MLFLOW_AUTH_ADMIN_",
    "--auth password1234": r"this password is known to everybody or too short",
    "--auth too-short": r"this password is known to everybody or too short",
    "--database sqlite:///{folder}/store/mlflow.db": r"a server runs already on \S+store\.",
    "--database sqlite:///{own}": r"\S+ is a store of this machine: the files of its experiment '\w+' are",
}.items())  # fmt: skip
def test_a_mistake_is_said_in_one_line(
    plain: Server, bucket: Bucket, source: Store, tmp_path: Path, words: str, said: str
) -> None:
    words = words.format(port=plain.port, out=plain.out, folder=plain.folder, own=source.database)
    if "--database" not in words:
        words += f" --database sqlite:///{tmp_path}/new/mlflow.db"
    env = os.environ.copy()
    if found := re.search(r"--auth (password1234|too-short)", words):
        words, env["MLFLOW_AUTH_ADMIN_PASSWORD"] = words.replace(found[1], ""), found[1]
    done = subprocess.run(
        [*START, *words.split()], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert re.match(f"error: {said}", line), line
    assert "geheim" not in line


def test_what_tells_it_to_end_ends_all_its_processes(team: Server, plain: Server) -> None:
    family = [*team.family(), *plain.family()]
    team.process.send_signal(signal.SIGINT)
    plain.process.send_signal(signal.SIGTERM)
    for server in (team, plain):
        assert server.process.wait(timeout=20) == 0
        text = server.out.read_text()
        assert text.endswith("The server has ended.\n")
        assert "Traceback" not in text
        assert "psycopg" not in text
    wait_for(lambda: not any(alive(pid) for pid in family), seconds=10)
