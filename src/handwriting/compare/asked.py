"""What is asked of the runs, and what the report on it is called: each question has a place of its own."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from handwriting.tracking import names

LONGEST = 100  # letters of a title; a file system takes 255 bytes for a folder's name


@dataclass(frozen=True)
class Asked:
    """What is asked of the runs; arguments as for `comparison.compare`."""

    by: Sequence[str] | None = None
    metric: str = names.TEST_ACCURACY
    where: Sequence[str] = ()
    targets: Sequence[float] = ()
    more_is_better: bool | None = None
    margin: float | None = None

    def words(self) -> dict[str, str]:
        """Return what is asked, in the words of the command; the same for `where` in another order."""
        known = names.metric(self.metric).more_is_better
        direction = {True: " more-is-better", False: " less-is-better", None: ""}[self.more_is_better]
        return {
            "by": " ".join(self.by or ()),
            "metric": self.metric + (direction if known is None else ""),
            "where": " ".join(sorted(set(self.where))),
            "targets": " ".join(f"{target:g}" for target in sorted(set(self.targets))),
            "margin": "" if self.margin is None else f"{self.margin:g}",
        }

    def title(self, about: str) -> str:
        """Return the name of the report on a sweep or an experiment: "quick by batch_size test_loss".

        The default question has the name of what it is about; a long one ends in a digest.
        """
        words = {key: value for key, value in self.words().items() if value not in ("", names.TEST_ACCURACY)}
        said = [value if key == "metric" else f"{key} {value}" for key, value in words.items()]
        whole = " ".join([about, *said])
        return whole if len(whole) <= LONGEST else f"{whole[: LONGEST - 10].strip()} {_digest(whole)}"


def folder_of(title: str) -> str:
    """Return the name of a report's folder, in letters that no shell and no address changes."""
    plain = re.sub(r"[^\w.=-]+", "-", title, flags=re.ASCII).strip("-.")
    return plain if plain == title else f"{plain}-{_digest(title)}".strip("-")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
