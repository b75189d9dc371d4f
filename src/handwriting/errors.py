"""A user's mistake, said in one line."""

import difflib
import re
import shlex
from collections.abc import Callable, Iterable, Mapping

from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf.errors import OmegaConfBaseException, ValidationError

from handwriting.keys import key_of, nearest_key


class UserError(Exception):
    """A mistake of the user's or the machine's; its text is the whole message, without a traceback."""


def redact(text: str) -> str:
    """Take user names and passwords out of addresses: nothing secret goes into a store."""
    text = re.sub(r"(?<=://)[^/\s]+@", "***@", text)  # greedy: a password may hold an @
    return re.sub(r"(?i)(?<=password=)[^&\s'\"]+", "***", text)


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the choice most like `name`, or nothing where none is."""
    by_letters = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(name.lower(), by_letters, n=1)
    return f" Did you mean '{by_letters[close[0]]}'?" if close else ""


def explain(error: BaseException, known_keys: Callable[[], Mapping[str, str]] = dict) -> str | None:
    """Return the one line that says what a user did wrong, without passwords; None for an error that is ours.

    Hydra and OmegaConf spread such a message over several lines and leave out what would be right.

    Args:
        error: whatever ended the command.
        known_keys: returns all keys; with each that is not there now, the GROUP=MEMBER that has it.
    """
    line = _explained(error, known_keys)
    return None if line is None else redact(line)


def _explained(error: BaseException, known_keys: Callable[[], Mapping[str, str]]) -> str | None:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MissingConfigException) and error.options is not None:
        return _no_member(error)
    if isinstance(error, ValueError) and "Config group override" in str(error):
        return f"a group takes the name of a member: GROUP=MEMBER ({error})"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: not in Hydra's grammar: {_ungrammatical(error.override)}"
    # A log file that cannot be opened is a ValueError of logging's.
    of_system = error.__cause__ if isinstance(error, ValueError) else error
    if isinstance(of_system, OSError) and of_system.filename:
        return f"{of_system.filename} cannot be used: {of_system.strerror}. Free it, or name another place"
    if (mark := getattr(error, "problem_mark", None)) is not None:  # PyYAML's
        return f"{mark.name}, line {mark.line + 1}: not YAML: {getattr(error, 'problem', error)}"
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return None
    cause = error.__cause__ or error.__context__
    reason = cause if isinstance(cause, OmegaConfBaseException) else error
    key = getattr(reason, "full_key", None)
    text = str(reason).partition("\n")[0].strip().rstrip(".")
    file = re.match(r"In '(.*?)': \w+ raised while composing", str(error))
    where = f"{file[1]}.yaml: " if file else ""
    if key and "not in" in text:
        return where + _no_key(key, known_keys())
    if found := re.match(r"(?:Ambiguous value for argument|Sweep parameters) '(.*)'", text):
        return _several(found[1])
    if found := re.match(r"Could not append to config. An item is already at '(.*?)'", text):
        return f"{found[1]} is there already. Leave out the +: {found[1]}=VALUE"
    if key and isinstance(reason, ValidationError) and (entry := key_of(key)) is not None:
        value = re.match(r"Value '(.*)' (?:of type|is not)", text)
        received = f". Received: {value[1]}{as_sweep(key, value[1])}" if value else ""
        return f"{where}{key} must be {entry.right}{received}"
    text = text.removeprefix("UserError raised while resolving interpolation: ")
    if isinstance(error, ConfigCompositionException) and reason is not error and key:
        return f"{where}{key}: {text}"
    return text


def _no_member(error: MissingConfigException) -> str:
    asked = error.missing_cfg_file or ""
    found = re.search(r"Available options in '(.*)'", str(error))
    group = found[1] if found else asked.rpartition("/")[0]
    member = asked.removeprefix(f"{group}/")
    options = error.options or ()
    own = " Images of your own: data.path=FILE.npz or FOLDER" if group == "data" else ""
    return (
        f"{group}={member}: there is no such file in conf/{group}. "
        f"There are: {', '.join(options)}.{nearest(member, options)}{own}"
    )


def _no_key(key: str, known: Mapping[str, str]) -> str:
    if key.startswith("arms."):
        others = "or name others in place of all: '~arms' '+arms={...}'"
        return f"{key}: there is no such arm. Add it: '+{key}=\"KEY=VALUE\"', {others}"
    if member := known.get(key):
        return f"{key}: there is no such key here; {member} has it"
    return f"{key}: there is no such key.{nearest_key(key, known)} All keys: --help"


def _ungrammatical(word: str) -> str:
    """Return what would be right for an override that Hydra cannot read."""
    key, equals, value = word.partition("=")
    if not equals:
        return "a setting is KEY=VALUE, without spaces around the ="
    if word.endswith(","):
        return f"several values stand without spaces between them: -m {key}=ONE,OTHER"
    if value.startswith("{") and "=" in value:
        return (
            f"within braces an override is quoted, and a name is not: '{key}={{NAME: \"KEY=VALUE\"}}'. "
            "A name has letters from a to z, digits, blanks, _ - and . there; in an experiment file any"
        )
    if any(word.count(start) != word.count(end) for start, end in ("[]", "()", "{}")):
        return "a bracket is not closed. In a shell the whole word stands in '...'"
    if value.startswith("~"):
        return f"write your home out: {key}=$HOME{value[1:]}"
    return f"special signs are quoted twice: '{key}=\"{value}\"'"


def _several(word: str) -> str:
    """Say that a word names several values without -m."""
    key, _, value = word.partition("=")
    decimal = re.fullmatch(r"(-?\d+),(0\d+)", value)
    point = f". A decimal has a point: {key}={decimal[1]}.{decimal[2]}" if decimal else ""
    return f"{word} is several values. With -m in front they are a sweep: -m {shlex.quote(word)}{point}"


def as_sweep(key: str, value: str) -> str:
    """Say how a sweep over values is written, where one was meant: 0-2, 0..2, 0:3 or [0, 1, 2]."""
    if found := re.fullmatch(r"(\d+)(-|\.\.+|:)(\d+)", value):
        end = int(found[3]) + (found[2] != ":")
        numbers = f"{end}" if int(found[1]) == 0 else f"{found[1]},{end}"
        return f". For a sweep: -m '{key}=range({numbers})'"
    if found := re.fullmatch(r"\[(.+)\]", value):
        return f". For a sweep: -m {key}={found[1].replace(' ', '')}"
    return ""
