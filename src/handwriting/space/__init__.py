"""What is tuned: of each arm the keys with their ranges, the settings that are tried, and on which seeds.

All of it follows from the tuning file: the same file tries the same settings, and more of them begin with
those that fewer have.
"""

from handwriting.space.ranges import LOG, ONE_MINUS_LOG, Range, range_of
from handwriting.space.settings import Space, label_of, seeds_of, several, space_of

__all__ = [
    "LOG",
    "ONE_MINUS_LOG",
    "Range",
    "Space",
    "label_of",
    "range_of",
    "seeds_of",
    "several",
    "space_of",
]
