"""Names and passwords of a server's users: MLflow's own, with what it leaves to whoever starts it."""

import importlib.util
import os
import secrets
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from handwriting.errors import UserError

KNOWN = "password1234"  # MLflow's own until 2026
SHORTEST = 12  # letters that MLflow takes as a password
# Who has a name may add runs to others' experiments, and delete in them what a lost answer has made twice. A
# password takes 0.2 s to check, so that it is not done for each request.
USERS = """\
[mlflow]
default_permission = MANAGE
database_uri = sqlite:///{}
admin_username = admin
auth_cache_ttl_seconds = 300
"""


def asking_for_passwords(folder: Path) -> dict[str, str]:
    """Return the environment of a server that asks for names and passwords, and make its files.

    Args:
        folder: where its users and its secret key are.

    Raises:
        UserError: the first user has no password, or one that is known or short; or something is missing.
    """
    if importlib.util.find_spec("flask_wtf") is None:
        raise UserError("--auth needs Flask-WTF, which is not installed: make extras")
    users = folder / "users.db"
    password = os.environ.get("MLFLOW_AUTH_ADMIN_PASSWORD")
    right = f"one of {SHORTEST} letters or more: export MLFLOW_AUTH_ADMIN_PASSWORD=…"
    if password is None and not has_users(users):
        raise UserError(f"the first user, who makes the others, needs a password, {right}")
    if password == KNOWN or (password is not None and len(password) < SHORTEST):
        raise UserError(f"this password is known to everybody or too short. Take {right}")
    os.close(os.open(users, os.O_CREAT | os.O_RDWR, 0o600))  # else others could read what MLflow makes
    config = folder / "users.ini"
    config.write_text(USERS.format(str(users).replace("%", "%%")), encoding="utf-8")
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secret_key(folder / "secret_key"),
    }


def has_users(users: Path) -> bool:
    """Tell whether anybody can log in; a file that a kill left half made is removed.

    Raises:
        UserError: the file cannot be read.
    """
    if not users.exists():
        return False
    try:
        with closing(sqlite3.connect(users)) as connection:
            named = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'users'").fetchone()
            if named and connection.execute("SELECT 1 FROM users").fetchone():
                return True
    except sqlite3.Error as error:
        raise UserError(f"{users} cannot be read ({error})") from error
    users.unlink()
    return False


def secret_key(file: Path) -> str:
    """Return the key in a file that its owner alone can read; make both where they are missing.

    With the same key, a page that was open before the server was started again can still be sent.
    """
    with suppress(FileExistsError):
        number = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with open(number, "w", encoding="utf-8") as made:
            made.write(secrets.token_hex(32))
    return file.read_text(encoding="utf-8")
