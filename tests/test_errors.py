"""What is said of a mistake, and what is not."""

import pytest

from handwriting.errors import redact


@pytest.mark.parametrize(
    ("address", "clean"),
    [
        ("postgresql://me:geheim@db:5432/x", "postgresql://***@db:5432/x"),
        ("https://geheim@host/path", "https://***@host/path"),
        ("a=http://me:geheim@one b=http://me:geheim@two", "a=http://***@one b=http://***@two"),
        ("mysql://me:ge@heim@host/x", "mysql://***@host/x"),
        ("postgresql://db/x?user=me&password=geheim", "postgresql://db/x?user=me&password=***"),
        ("sqlite:////folder/mlflow.db", "sqlite:////folder/mlflow.db"),
        ("mail me@example.org", "mail me@example.org"),
    ],
)
def test_redact_takes_passwords_out_of_addresses(address: str, clean: str) -> None:
    assert redact(address) == clean
