"""What is asked of the runs, and what the report on it is called: each question has a place of its own."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

from handwriting.tracking import names

LONGEST = 100  # letters of a folder's name; a file system takes 255 bytes


@dataclass(frozen=True)
class Asked:
    """What is asked of the runs; arguments as for `comparison.compare`."""

    by: Sequence[str] | None = None
    metric: str = names.TEST_ACCURACY
    where: Sequence[str] = ()
    targets: Sequence[float] = ()
    more_is_better: bool | None = None

    def words(self) -> dict[str, str]:
        """Return what is asked, in the words of the command; the same for `where` in another order."""
        known = names.metric(self.metric).more_is_better
        direction = {True: " more-is-better", False: " less-is-better", None: ""}[self.more_is_better]
        return {
            "by": " ".join(self.by or ()),
            "metric": self.metric + (direction if known is None else ""),
            "where": " ".join(sorted(set(self.where))),
            "targets": " ".join(f"{target:g}" for target in sorted(set(self.targets))),
        }

    def title(self, about: str) -> str:
        """Return the name of the report on a sweep or an experiment: "quick by batch_size test_loss".

        The default question has the name of what it is about; a long one ends in a digest.
        """
        words = {key: value for key, value in self.words().items() if value not in ("", names.TEST_ACCURACY)}
        said = [value if key == "metric" else f"{key} {value}" for key, value in words.items()]
        whole = " ".join([about, *said])
        if len(_quoted(whole)) <= LONGEST:
            return whole
        digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
        begin = re.sub(r"%\w?$", "", _quoted(whole)[: LONGEST - 1 - len(digest)])
        return f"{unquote(begin, errors='ignore').strip()} {digest}"


def folder_of(title: str) -> str:
    """Return the name of a report's folder: an experiment may be called "..", and a folder may not."""
    return re.sub(r"^\.", "%2E", _quoted(title))


def _quoted(name: str) -> str:
    return quote(name, safe=" =,")
