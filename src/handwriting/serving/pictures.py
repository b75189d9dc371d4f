"""From a user's picture to what a network learned from: found, straightened out, and framed like its images.

A network that learned from ink on an empty ground (`data.Ink`) gets each connected part of a picture by
itself, framed as MNIST's makers describe it: grey, threshold, bounding box, scaled to one size by its aspect,
centre of mass in the middle (LeCun, Cortes and Burges, "The MNIST database of handwritten digits"). Any
other network gets the whole picture in the size of its images.
"""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from scipy import ndimage

from handwriting.data import Ink
from handwriting.data.ink import centre_of_mass, stroke_of
from handwriting.errors import UserError

FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
BROKEN = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)  # what PIL raises of such pictures
UNREADABLE = f"it is no picture that can be read, as {', '.join(FORMATS)} are"
MOST_PIXELS = 50_000_000  # of a picture: a telephone's has 12 to 50 million
LONGEST = 1000  # pixels of a side; larger pictures are made smaller first
SHORTEST = 112  # of the longer side; smaller ones are made larger, so that there is a ground around the ink
LEAST_CONTRAST = 16  # of 255: what is fainter is no ink
INK = 0.4  # of the ink's own strength: what is fainter is ground
SPECK = 0.03  # of the largest part's area: what is smaller is dirt
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class Seen:
    """One part of a picture, as the network sees it.

    Args:
        image: float32 from 0 to 1 of shape (height, width, channels).
        box: left, top, width, height of the part, in pixels of the user's picture.
    """

    image: np.ndarray
    box: tuple[int, int, int, int]


def open_picture(content: bytes, most: int = MOST_PIXELS) -> Image.Image:
    """Return a picture the right way up, its transparent parts white.

    Args:
        content: of its file.
        most: pixels that it may have.

    Raises:
        UserError: it is none, is broken, or is too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MOST_PIXELS is less
            picture: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
        if picture.width * picture.height > most:
            raise UserError(
                f"it has {picture.width:,} x {picture.height:,} pixels, of at most {most:,}. Make it smaller"
            )
        picture.load()
        picture = ImageOps.exif_transpose(picture)
        if picture.mode in ("I", "F", "I;16"):  # of scanners: 16 bits a pixel
            values = np.asarray(picture, np.float64)
            picture = Image.fromarray((values / max(values.max(), 1) * 255).astype(np.uint8))
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            if np.asarray(picture.getchannel("A")).min() < 255:
                picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        return picture.convert("L" if picture.mode in ("1", "L") else "RGB")
    except BROKEN as error:
        raise UserError(UNREADABLE) from error


def check_format(file: Path) -> None:
    """Check that a file begins as a picture does, in a millisecond; reading it tells more.

    Raises:
        UserError: it does not.
    """
    try:
        Image.open(file, formats=FORMATS).close()
    except BROKEN as error:
        raise UserError(UNREADABLE) from error


def seen_on(picture: Image.Image, image_shape: Sequence[int], ink: Ink | None) -> list[Seen]:
    """Return what a network sees on a picture: its parts from left to right, line by line; or all of it.

    Args:
        picture: as `open_picture` returns it.
        image_shape: height, width, channels of the network's images.
        ink: how they are framed; None for pictures taken whole.

    Raises:
        UserError: nothing is on it.
    """
    height, width, channels = image_shape
    if ink is None:
        fitted = ImageOps.fit(picture.convert(MODES[channels]), (width, height), Image.Resampling.BILINEAR)
        image = np.asarray(fitted, np.float32).reshape(height, width, channels) / 255
        if image.min() == image.max():
            raise UserError("nothing is on it: all of it has one colour")
        return [Seen(image, (0, 0, *picture.size))]
    factor = min(LONGEST, max(SHORTEST, *picture.size)) / max(picture.size)
    size = [max(1, round(factor * side)) for side in picture.size]
    grey = picture.convert("L")
    if factor != 1:
        grey = grey.resize((size[0], size[1]), Image.Resampling.BILINEAR, reducing_gap=3)
    strength, mask = _ink_on(np.asarray(grey, np.float32))
    seen = []
    for part in _in_reading_order(_parts(mask)):
        rows, columns = part.where
        own = ndimage.binary_dilation(part.mask, iterations=2)
        image = _framed(strength[rows, columns] * own, part.mask, (height, width), ink)
        left, top = columns.start / factor, rows.start / factor
        box = (left, top, (columns.stop - columns.start) / factor, (rows.stop - rows.start) / factor)
        seen.append(Seen(image[..., None], tuple(round(side) for side in box)))
    return seen


def _ink_on(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how much ink is where, from 0 to 1, and where there is some.

    Ink is darker or lighter than the ground, whichever is further from it.
    """
    step = max(1, max(grey.shape) // 64)
    smooth = ndimage.gaussian_filter(grey - _ground_of(grey), max(grey.shape) / 400 + 0.3)
    low, high = np.percentile(smooth[:: max(1, step // 2), :: max(1, step // 2)], (0.2, 99.8))
    if -low > high:
        smooth, high = -smooth, -low
    noise = 1.4826 * float(np.median(abs(smooth[::step, ::step])))
    if high < max(LEAST_CONTRAST, 4 * noise):
        raise UserError("nothing is on it that stands out from its ground")
    level = float(np.median(smooth[smooth > max(0.4 * high, 3 * noise)]))
    return np.clip(smooth / level, 0, 1), smooth > INK * level


def _ground_of(grey: np.ndarray) -> np.ndarray:
    """Return the ground at each pixel: paper is seldom lit evenly.

    It is the quadratic surface through what is no ink, found in at most four rounds on a thousand pixels; one
    value where hardly anything is even.
    """
    step = max(1, max(grey.shape) // 32)
    coarse = grey[::step, ::step].astype(np.float64)
    rows, columns = (  # from a pixel that is looked at, in the middle
        (np.arange(side) - count // 2 * step) * 2 / max(grey.shape)
        for side, count in zip(grey.shape, coarse.shape, strict=True)
    )
    y, x = np.meshgrid(rows[::step], columns[::step], indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
    median = float(np.median(np.concatenate([coarse[0], coarse[-1], coarse[:, 0], coarse[:, -1]])))
    fitted, before = np.array([median, 0, 0, 0, 0, 0]), np.array([], bool)
    for _ in range(4):
        off = abs(coarse - terms @ fitted)
        even = off <= max(2.5 * 1.4826 * float(np.median(off)), 4)
        if even.sum() < 0.2 * even.size or np.array_equal(even, before):  # hardly any, or the same as before
            break
        before = even
        known = terms[even]
        # Normal equations, well conditioned from -1 to 1; with the terms themselves it takes 1 to 3 ms.
        fitted = np.linalg.lstsq(known.T @ known, known.T @ coarse[even], rcond=None)[0]
    level, across, down, across2, both, down2 = fitted.astype(np.float32)
    rows, columns = rows.astype(np.float32)[:, None], columns.astype(np.float32)
    of_row = level + rows * (down + rows * down2)
    return of_row + columns * (across + columns * across2) + both * rows * columns


@dataclass(frozen=True)
class _Part:
    """Where a part is in the mask of all ink, and its own ink there."""

    where: tuple[slice, slice]
    mask: np.ndarray


def _parts(mask: np.ndarray) -> list[_Part]:
    """Return the connected parts of what is drawn; pieces of one sign belong together, dirt is left out."""
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    where = ndimage.find_objects(labels)
    areas = np.bincount(labels.ravel())[1:]
    touched = [
        sum((rows.start == 0, rows.stop == mask.shape[0], columns.start == 0, columns.stop == mask.shape[1]))
        for rows, columns in where
    ]
    inside = [place for place, sides in enumerate(touched) if sides < 2]
    kept = inside or range(len(where))  # else the edge of a paper, or a shadow, in a corner
    largest = max(areas[place] for place in kept)
    kept = [place for place in kept if areas[place] >= max(SPECK * largest, 4)]
    groups: list[list[int]] = []
    for place in sorted(kept, key=lambda place: -areas[place]):
        for group in groups:
            if any(_belong(where[place], where[other]) for other in group):
                group.append(place)
                break
        else:
            groups.append([place])
    return [_joined(labels, where, group) for group in groups]


def _joined(labels: np.ndarray, where: Sequence[tuple[slice, slice]], group: Sequence[int]) -> _Part:
    ends = [
        (min(where[place][axis].start for place in group), max(where[place][axis].stop for place in group))
        for axis in (0, 1)
    ]
    # A margin for the soft edge of the ink.
    rows, columns = (
        slice(max(0, start - 2), min(size, stop + 2))
        for (start, stop), size in zip(ends, labels.shape, strict=True)
    )
    return _Part((rows, columns), np.isin(labels[rows, columns], [place + 1 for place in group]))


def _belong(small: tuple[slice, slice], large: tuple[slice, slice]) -> bool:
    """Tell whether a piece is of the same sign as a larger one, such as the bar of a 5."""
    height, of_large = (part[0].stop - part[0].start for part in (small, large))
    gap_down, gap_across = (
        max(small[axis].start, large[axis].start) - min(small[axis].stop, large[axis].stop) for axis in (0, 1)
    )
    narrower = min(part[1].stop - part[1].start for part in (small, large))
    above = -gap_across >= 0.4 * narrower
    if above and gap_down < 0:
        return True
    near = max(gap_down, gap_across) <= 0.25 * of_large
    return near and height < 0.6 * of_large and (above or gap_across <= 0.12 * of_large)


def _in_reading_order(parts: Sequence[_Part]) -> list[_Part]:
    """Return parts line by line, each line from left to right."""
    lines: list[list[_Part]] = []
    for part in sorted(parts, key=lambda part: part.where[0].start):
        rows = part.where[0]
        for line in lines:
            start, stop = min(p.where[0].start for p in line), max(p.where[0].stop for p in line)
            shared = min(rows.stop, stop) - max(rows.start, start)
            if shared >= 0.5 * min(rows.stop - rows.start, stop - start):
                line.append(part)
                break
        else:
            lines.append([part])
    return [part for line in lines for part in sorted(line, key=lambda part: part.where[1].start)]


def _framed(strength: np.ndarray, mask: np.ndarray, shape: tuple[int, int], ink: Ink) -> np.ndarray:
    """Return one part as the network's images are framed: its size, its place, its stroke and its ground."""
    where = ndimage.find_objects(mask.astype(np.uint8))[0]
    longer = max(side.stop - side.start for side in where)
    stroke = stroke_of(mask) * ink.box / longer
    if stroke < 0.6 * ink.stroke:  # a thin pen on a large sheet: its lines would all but vanish
        more = (0.8 * ink.stroke * longer / ink.box - stroke_of(mask)) / 2
        mask = np.pad(mask, int(more) + 2)
        strength = np.clip(more + 1 - ndimage.distance_transform_edt(~mask), 0, 1).astype(np.float32)
        where = ndimage.find_objects((strength > 0.5).astype(np.uint8))[0]
    crop = strength[where]
    factor = ink.box / max(crop.shape)
    height, width = (
        min(limit, max(1, round(factor * side))) for side, limit in zip(crop.shape, shape, strict=True)
    )
    small = np.asarray(Image.fromarray(crop).resize((width, height), Image.Resampling.HAMMING), np.float32)
    small = small / small.max()
    middle = centre_of_mass(small) if ink.by_mass else ((height - 1) / 2, (width - 1) / 2)
    top, left = (
        int(np.clip(round(place - centre), 0, limit - side))
        for place, centre, limit, side in zip(ink.centre, middle, shape, small.shape, strict=True)
    )
    image = np.zeros(shape, np.float32)
    image[top : top + height, left : left + width] = small
    return 1 - image if ink.ground else image
