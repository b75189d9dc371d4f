"""How the images of a data set are framed, learned from the images: what a user's picture is made into."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

LOOKED_AT = 200  # images: 0.1 s
MOST = 0.95  # the share of them that has to be alike


@dataclass(frozen=True)
class Ink:
    """Images of something drawn on an empty ground, each as large: letters, digits, sketches.

    Args:
        box: pixels of the longer side of what is drawn.
        ground: the value of the empty ground: 0 for light ink on dark, 1 for dark ink on light.
        by_mass: images have one place for the centre of mass of what is drawn; else for its bounding box's.
        centre: that place: row and column, counted from 0.
        stroke: median width of the strokes in pixels, by `stroke_of`.
    """

    box: int
    ground: int
    by_mass: bool
    centre: tuple[float, float]
    stroke: float

    def as_json(self) -> dict[str, Any]:
        """Return it as `from_json` takes it."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any] | None) -> "Ink | None":
        """Return what a model's facts say."""
        return None if stored is None else cls(**{**stored, "centre": tuple(stored["centre"])})


def ink_of(images: np.ndarray) -> Ink | None:
    """Return how images are framed, or None where they do not all have one size of ink on an empty ground.

    Args:
        images: uint8, or float from 0 to 1; shape (n, height, width) or (n, height, width, channels).
    """
    images = images[:: max(1, len(images) // LOOKED_AT)][:LOOKED_AT]
    if images.ndim == 4 and images.shape[-1] > 1:
        return None
    x = images.reshape(images.shape[:3]) / (255 if images.dtype == np.uint8 else 1)
    frame = np.concatenate([x[:, 0], x[:, -1], x[:, :, 0], x[:, :, -1]], axis=1)
    ground = int(np.median(frame) > 0.5)
    ink = abs(x - ground)
    known = [image for image in ink if image.any()]
    if not known or np.median(abs(frame - ground)) > 0:
        return None
    rows, columns = (np.array([_ends((image > 0).any(axis=axis)) for image in known]) for axis in (1, 0))
    sides = np.maximum(np.diff(rows), np.diff(columns)).ravel() + 1
    box = int(np.median(sides))
    if (abs(sides - box) <= 1).mean() < MOST:
        return None
    of_box = np.stack([rows.mean(axis=1), columns.mean(axis=1)], axis=1)
    of_mass = np.array([centre_of_mass(image) for image in known])
    off_box, off_mass = (abs(centres - centres.mean(axis=0)).mean() for centres in (of_box, of_mass))
    row, column = (of_mass if off_mass < off_box else of_box).mean(axis=0)
    strokes = [stroke_of(image > 0.5) for image in known]
    centre = (round(float(row), 2), round(float(column), 2))
    return Ink(box, ground, bool(off_mass < off_box), centre, round(float(np.median(strokes)), 2))


def centre_of_mass(ink: np.ndarray) -> tuple[float, float]:
    """Return the row and the column of the centre of mass of an image that has some."""
    return tuple(
        float(np.average(np.arange(size), weights=ink.sum(axis=1 - axis)))
        for axis, size in enumerate(ink.shape)
    )  # type: ignore[return-value]


def stroke_of(mask: np.ndarray) -> float:
    """Return about how wide strokes are, in pixels: their area over half of their outline.

    An outline is counted in pixel sides, which are 4 / pi longer than a line of any direction.
    """
    padded = np.pad(mask, 1)
    outline = sum(np.count_nonzero(np.diff(padded, axis=axis)) for axis in (0, 1))
    return float(2 * np.count_nonzero(mask) / max(outline, 1) * 4 / np.pi)


def _ends(there: np.ndarray) -> tuple[int, int]:
    places = np.flatnonzero(there)
    return int(places[0]), int(places[-1])
