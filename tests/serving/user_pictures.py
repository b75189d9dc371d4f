"""Pictures as users have them, made of MNIST's test digits: scaled, off-centre, on noisy paper, as JPEG.

    python tests/serving/user_pictures.py NAME@champion

prints how many of the first 1,000 a model reads right, with and without what is done to a picture.
"""

import io
import sys
from typing import Any

import numpy as np
from PIL import Image

from handwriting.config import compose
from handwriting.data import Ink, Split, load_dataset
from handwriting.serving.pictures import open_picture, seen_on
from handwriting.serving.reading import model_named
from handwriting.tracking import Store, default_uri
from handwriting.tracking.picture_model import PictureModel

SIDE = 200  # pixels of a digit


def first_digits(count: int) -> Split:
    split = load_dataset(compose("data=mnist").data, seed=0).test
    return Split(split.x[:count], split.y[:count])


def on_paper(digits: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Return dark digits, side by side, on light paper that is lit unevenly and grained."""
    width, height = int(SIDE * len(digits) + rng.integers(60, 220)), int(SIDE + rng.integers(60, 220))
    strength = np.zeros((height, width))
    left, top = rng.integers(0, width - SIDE * len(digits) + 1), rng.integers(0, height - SIDE + 1)
    for place, digit in enumerate(digits):
        large = np.asarray(Image.fromarray(digit).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) / 255
        start = left + place * SIDE
        strength[top : top + SIDE, start : start + SIDE] = large
    down, across = np.mgrid[0:height, 0:width] / max(height, width)
    paper = rng.uniform(190, 245) + rng.uniform(-25, 25) * across + rng.uniform(-25, 25) * down
    grey = paper * (1 - strength) + rng.uniform(20, 80) * strength + rng.normal(0, 6, strength.shape)
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))


def as_bytes(picture: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def rates(model: PictureModel, count: int = 1000) -> dict[str, float]:
    """Return the share of test digits that are read right, from 0 to 1, as images and as users' pictures."""
    split, rng = first_digits(count), np.random.default_rng(0)
    ink = Ink.from_json(model.facts["ink"])
    pictures = [open_picture(as_bytes(on_paper(digit[None], rng), quality=70)) for digit in split.x]
    seen = [seen_on(picture, (28, 28, 1), ink) for picture in pictures]
    alone = np.array([len(parts) == 1 for parts in seen])
    small = np.stack(
        [np.asarray(picture.convert("L").resize((28, 28), Image.Resampling.BILINEAR)) for picture in pictures]
    )

    def right(images: np.ndarray) -> np.ndarray:
        return model.probabilities(images.astype(np.float32)).argmax(axis=1) == split.y

    return {
        "the test set's images": float(right(split.x[..., None] / 255).mean()),
        "pictures": float((right(np.stack([parts[0].image for parts in seen])) & alone).mean()),
        "pictures, only made smaller": float(right(small[..., None] / 255).mean()),
        "pictures, made smaller and inverted": float(right(1 - small[..., None] / 255).mean()),
    }


if __name__ == "__main__":
    found, called = model_named(Store(default_uri()), sys.argv[1])
    print(called, *(f"{name}: {rate:.1%}" for name, rate in rates(found).items()), sep="\n")
