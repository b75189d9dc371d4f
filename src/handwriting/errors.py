"""A user's mistake, said in one line."""

import difflib
import re
from collections.abc import Callable, Iterable

from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf.errors import OmegaConfBaseException


class UserError(Exception):
    """A mistake of the user's or the machine's; its text is the whole message, without a traceback."""


def redact(text: str) -> str:
    """Take user names and passwords out of addresses: nothing secret goes into a store."""
    text = re.sub(r"(?<=://)[^/\s]+@", "***@", text)  # greedy: a password may hold an @
    return re.sub(r"(?i)(?<=password=)[^&\s'\"]+", "***", text)


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the choice most like `name`, or nothing where none is."""
    close = difflib.get_close_matches(name, list(choices), n=1)
    return f" Did you mean '{close[0]}'?" if close else ""


def explain(error: BaseException, known_keys: Callable[[], Iterable[str]] = tuple) -> str | None:
    """Return the one line that says what a user did wrong, or None for an error that is ours.

    Hydra and OmegaConf spread such a message over several lines and leave out the nearest right name,
    which is looked for among `known_keys()`.
    """
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, member = (error.missing_cfg_file or "").rpartition("/")
        return (
            f"{group}={member}: there is no such file in conf/{group}. "
            f"There are: {', '.join(error.options)}.{nearest(member, error.options)}"
        )
    if isinstance(error, ValueError) and "Config group override" in str(error):
        return f"a group takes the name of a member: GROUP=MEMBER ({error})"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: not in Hydra's grammar ({str(error).partition(chr(10))[0]})"
    # A log file that cannot be opened is a ValueError of logging's.
    of_system = error.__cause__ if isinstance(error, ValueError) else error
    if isinstance(of_system, OSError) and of_system.filename:
        return f"{of_system.filename} cannot be used: {of_system.strerror}. Free it, or name another place"
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return None
    cause = error.__cause__
    reason = cause if isinstance(cause, OmegaConfBaseException) else error
    key = getattr(reason, "full_key", None)
    if key and "not in" in str(reason):
        return f"{key}: there is no such key.{nearest(key, known_keys())} All keys: --help"
    text = str(reason).partition("\n")[0].strip().rstrip(".")
    text = text.removeprefix("UserError raised while resolving interpolation: ")
    if isinstance(error, ConfigCompositionException) and reason is not error and key:
        return f"{key}: {text}"
    return text
