"""What does not leave this machine: secrets, and where things lie on it."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from handwriting.compare import LoadedRuns
from handwriting.config import ROOT
from handwriting.errors import redact
from handwriting.tracking import Store

_KEY = r"""(?i)([\w.-]*(?:password|passwd|secret|token|api_?key)['"]?\s*[=:]\s*)"""
_QUOTED = re.compile(_KEY + r"""(['"])(?:(?!\2).)+\2""")
_BARE = re.compile(_KEY + r"""(?!null\b|None\b)([^\s,'"}\]&]+)""")
_HOMES = re.compile(r"""(?<![\w.~-])/(?:(?:home|Users)/[^/\s'"]+|root(?![\w.-]))""")  # of any machine
# In a setting or a command, any path of two parts or more: of another machine, and of no use here.
_PATHS = re.compile(r"(?<![\w.~/:-])(?:(?:file|sqlite):/*)?(?:/[\w.@+,-]+)+/([\w.@+,-]+)")
HIDDEN = "HIDDEN"  # for a secret; *** would be no YAML
DATA, URI = "params.data.path", "params.tracking.uri"


class Cleaner:
    """Takes secrets out of texts, and shortens paths.

    Args:
        places: what stands for each absolute path or address.
    """

    def __init__(self, places: Mapping[str, str]):
        self._places = {place: places[place] for place in sorted(places, key=len, reverse=True)}
        # Neither within another path nor as the beginning of another name.
        any_of = "|".join(map(re.escape, self._places))
        self._path = re.compile(rf"(?<![\w.~-])(?:{any_of})(?![\w-]|\.\w)") if any_of else None

    def settings(self, text: str) -> str:
        """Return settings, a command, or any other text that is no code."""
        text = _BARE.sub(rf"\1{HIDDEN}", _QUOTED.sub(rf"\1\2{HIDDEN}\2", redact(text)))
        return _PATHS.sub(r".../\1", self._placed(text))

    def code(self, text: str) -> str:
        """Return code: what a name such as `token` gets is a secret only where it is written out."""
        return _HOMES.sub("~", self._placed(_QUOTED.sub(rf"\1\2{HIDDEN}\2", redact(text))))

    def _placed(self, text: str) -> str:
        return self._path.sub(lambda found: self._places[found[0]], text) if self._path else text


def cleaner_of(store: Store, loaded: LoadedRuns) -> Cleaner:
    """Return what cleans all that is known of some runs, whichever machines made them."""
    places = {str(ROOT): ".", str(store.folder): "mlruns", str(Path.home()): "~"}
    for column, word in ((URI, "STORE"), (DATA, "")):
        for text in loaded.runs[column].dropna().unique() if column in loaded.runs else ():
            places[redact(text)] = word or Path(text).name
            if text.startswith("sqlite:///"):
                places[str(Path(text.removeprefix("sqlite:///")).parent)] = "mlruns"
    return Cleaner({place: word for place, word in places.items() if "://" in place or _is_long(place)})


def cleaned(loaded: LoadedRuns, cleaner: Cleaner) -> LoadedRuns:
    """Return runs whose names, parameters and tags are clean, so that all that is made of them is.

    Two settings that differ only in what is taken out are numbered: they stay two.
    """
    runs = loaded.runs
    columns = [name for name in runs if name in ("name", "label") or name.startswith(("params.", "tags."))]
    clean = {name: _clean_column(runs[name], cleaner, name != DATA) for name in columns}
    return replace(loaded, runs=runs.assign(**clean))


def _clean_column(column: pd.Series, cleaner: Cleaner, apart: bool) -> pd.Series:
    changed, times = {}, Counter[str]()
    for text in [value for value in column.dropna().unique() if isinstance(value, str)]:
        plain = cleaner.settings(text)
        times[plain] += 1
        new = f"{plain} #{times[plain]}" if apart and times[plain] > 1 else plain
        if new != text:
            changed[text] = new
    return column.replace(changed) if changed else column


def _is_long(place: str) -> bool:
    """Tell whether a path is absolute and says more than the first folder of a disk."""
    return Path(place).is_absolute() and len(Path(place).parts) > 2
