"""Who may log in: that nobody does with a password that others know, and that a kill locks nobody out."""

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from handwriting.errors import UserError
from handwriting.hosting.passwords import asking_for_passwords, has_users, secret_key


def made(users: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(users)) as connection:
        for statement in ("CREATE TABLE alembic_version (version_num TEXT)", *statements):
            connection.execute(statement)
        connection.commit()
    return users


USERS = "CREATE TABLE users (username TEXT)"


@pytest.mark.parametrize("statements", [(), (USERS,)])
def test_what_a_kill_left_half_made_is_made_anew(tmp_path: Path, statements: tuple[str, ...]) -> None:
    users = made(tmp_path / "users.db", *statements)
    assert not has_users(users)
    assert not users.exists()


def test_users_stay_and_need_no_first_password_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("flask_wtf", reason="Flask-WTF is missing: make extras")
    monkeypatch.delenv("MLFLOW_AUTH_ADMIN_PASSWORD", raising=False)
    users = made(tmp_path / "users.db", USERS, "INSERT INTO users VALUES ('admin')")
    before = users.read_bytes()
    environment = asking_for_passwords(tmp_path)
    assert users.read_bytes() == before
    assert asking_for_passwords(tmp_path) == environment, "the same key: an open page can still be sent"


def test_a_file_that_cannot_be_read_is_left_as_it_is(tmp_path: Path) -> None:
    users = tmp_path / "users.db"
    users.write_text("not a database, however long it may be\n" * 100)
    with pytest.raises(UserError, match=r"users\.db cannot be read \(file is not a database\)"):
        has_users(users)
    assert users.exists()


def test_a_secret_key_is_its_owners_and_stays(tmp_path: Path) -> None:
    file = tmp_path / "key"
    key = secret_key(file)
    assert len(key) == 64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert secret_key(file) == key
    assert secret_key(tmp_path / "other") != key
