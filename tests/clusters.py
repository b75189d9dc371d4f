"""What a shared store may lie on: a PostgreSQL whose user has a password, and an object store."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import pytest

from conftest import ONLY_TESTS
from servers import free_port, wait_for

PROGRAMS = shutil.which("postgres") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/postgres")), "")
SKIPPED = "PostgreSQL is not installed here: apt-get install postgresql"
# With signs that an address takes only as %XX. Made anew, as a run stores uncommitted files such as this one.
PASSWORD = f"ge:heim%23+{secrets.token_hex(8)}"
AS_WRITTEN = quote(PASSWORD)
SHOWN = (PASSWORD, AS_WRITTEN, PASSWORD.partition("+")[2])  # of which nothing may be anywhere
# Nothing of a test outlives the machine.
FAST = ("fsync=off", "full_page_writes=off", "unix_socket_directories=")


class Cluster:
    """A PostgreSQL in a temporary folder, as an ordinary user: it does not run as root."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.user = pwd.getpwnam("nobody").pw_uid if os.getuid() == 0 else os.getuid()
        os.chown(self.folder, self.user, -1)
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self.port = free_port()
        self._run(
            "initdb", "--username=me", f"--pwfile={password}", "--auth=scram-sha-256", "--no-sync",
            "--encoding=UTF8", "--locale=C",
        )  # fmt: skip
        self.start()

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def _command(self, program: str, *options: str) -> list[str]:
        return [str(Path(PROGRAMS).resolve().parent / program), "-D", str(self.folder / "data"), *options]

    def _run(self, program: str, *options: str) -> None:
        done = subprocess.run(
            self._command(program, *options), cwd=self.folder, user=self.user,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        settings = [word for setting in FAST for word in ("-c", setting)]
        options = ["-h", "127.0.0.1", "-p", str(self.port), *settings]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command("postgres", *options), cwd=self.folder, user=self.user,
                stdout=log, stderr=log,
            )  # fmt: skip
        wait_for(self.answers)

    def answers(self) -> bool:
        import psycopg

        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            psycopg.connect(self._address("postgres"), password=PASSWORD).close()
        except psycopg.OperationalError:
            return False
        return True

    def _address(self, database: str, user: str = "me") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def database(self, name: str) -> str:
        """Make an empty database; return its address, with the password."""
        import psycopg

        with psycopg.connect(self._address("postgres"), password=PASSWORD, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self._address(name, f"me:{AS_WRITTEN}")

    def dump(self, name: str) -> str:
        """Return all that is in a database, as text."""
        command = self._command("pg_dump")[0], "--dbname", self._address(name)
        env = os.environ | {"PGPASSWORD": PASSWORD}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)  # ends all connections
        self.process.wait()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)


class Bucket:
    """An object store with an empty bucket `runs`; address and keys are in the environment meanwhile."""

    KEYS: ClassVar = {
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
    }

    def __init__(self, folder: Path):
        self.log, self.port = folder / "requests.log", free_port()
        self.patch = pytest.MonkeyPatch()

    def __enter__(self) -> "Bucket":
        import boto3

        address = f"http://127.0.0.1:{self.port}"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(self.port)],
                stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": str(ONLY_TESTS)},
            )  # fmt: skip
        wait_for(lambda: "Running on" in self.asked())
        for name, value in (self.KEYS | {"MLFLOW_S3_ENDPOINT_URL": address}).items():
            self.patch.setenv(name, value)
        boto3.client("s3", endpoint_url=address).create_bucket(Bucket="runs")
        return self

    def __exit__(self, *_: object) -> None:
        self.patch.undo()
        self.process.kill()
        self.process.wait()

    def asked(self) -> str:
        """Return the log of its requests."""
        assert self.process.poll() is None, self.log.read_text()
        return self.log.read_text()
