"""A user's picture becomes what the network learned from, whatever its size, its ground and its light."""

import numpy as np
import pytest
from PIL import Image, ImageDraw
from user_pictures import as_bytes, first_digits, on_paper

from handwriting.data import Ink
from handwriting.errors import UserError
from handwriting.serving.pictures import FORMATS, Seen, open_picture, seen_on

INK = Ink(box=20, ground=0, by_mass=True, centre=(14.0, 14.0), stroke=2.4)
SHAPE = (28, 28, 1)


def seven(
    size: tuple[int, int] = (200, 160), width: int = 14, ink: int = 30, paper: int = 230
) -> Image.Image:
    picture = Image.new("L", size, paper)
    x, y = size[0] // 4, size[1] // 5
    ImageDraw.Draw(picture).line([(x, y), (3 * x, y), (2 * x, 4 * y)], fill=ink, width=width, joint="curve")
    return picture


def only(picture: Image.Image, ink: Ink | None = INK) -> np.ndarray:
    (part,) = seen_on(open_picture(as_bytes(picture, "PNG")), SHAPE, ink)
    assert part.image.shape == SHAPE
    assert part.image.dtype == np.float32
    return part.image[..., 0]


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(abs(one - other).mean())


def test_what_is_drawn_has_the_size_and_the_place_of_the_data_sets() -> None:
    picture = Image.new("L", (300, 200), 230)
    ImageDraw.Draw(picture).line([(200, 30), (230, 30), (205, 90), (230, 90)], fill=30, width=9)
    image = only(picture)
    rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    for axis in (0, 1):
        mass = image.sum(axis=1 - axis)
        assert abs(np.average(np.arange(28), weights=mass) - 14) <= 0.5
    assert (image.min(), image.max()) == (0, 1)


@pytest.mark.parametrize(
    "picture",
    [
        seven(ink=230, paper=30),
        seven((400, 320), 28),
        seven((1600, 1280), 112),
        seven().convert("RGB"),
        seven().convert("P"),
        Image.fromarray(np.pad(np.asarray(seven()), ((90, 10), (5, 130)), constant_values=230)),
        Image.fromarray(np.asarray(seven()).astype(np.uint16) * 257),
        Image.merge("RGBA", [Image.new("L", (200, 160))] * 3 + [seven(ink=255, paper=0)]),
    ],
    ids=[
        "light on dark",
        "twice",
        "eight times",
        "colour",
        "palette",
        "off centre",
        "16 bits",
        "transparent",
    ],
)
def test_the_same_drawing_looks_the_same_to_the_network(picture: Image.Image) -> None:
    assert difference(only(picture), only(seven())) < 0.02


def test_a_telephones_picture_is_turned_the_right_way_up() -> None:
    turned = seven().transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 270 degrees to show
    (part,) = seen_on(open_picture(as_bytes(turned, "JPEG", exif=exif, quality=95)), SHAPE, INK)
    assert difference(part.image[..., 0], only(seven())) < 0.02
    left, top, *_ = part.box  # in pixels of the picture as it is shown
    assert abs(left - 43) < 8
    assert abs(top - 25) < 8


def test_a_thin_pen_gets_the_data_sets_stroke() -> None:
    thin, thick = only(seven((600, 480), 3)), only(seven((600, 480), 42))
    assert thin.sum() > 0.6 * thick.sum()


def test_dark_ink_on_light_is_made_where_the_data_set_is_so() -> None:
    dark = Ink(INK.box, 1, INK.by_mass, INK.centre, INK.stroke)
    np.testing.assert_allclose(only(seven(), dark), 1 - only(seven()), atol=1e-6)


def test_mnists_own_images_stay_what_they_are() -> None:
    digits = first_digits(100).x
    apart = [difference(only(Image.fromarray(digit)), digit / 255) for digit in digits]
    assert np.mean(apart) < 0.05
    shifted = np.mean([difference(np.roll(digit / 255, 1, 0), digit / 255) for digit in digits])
    assert np.mean(apart) < 0.6 * shifted, "less than one pixel makes"


def box_of(part: Seen) -> tuple[float, float]:
    return part.box[0] + part.box[2] / 2, part.box[1] + part.box[3] / 2


def test_several_digits_are_read_from_left_to_right_and_line_by_line() -> None:
    rng, digits = np.random.default_rng(0), first_digits(20).x[[1, 3, 1, 11]]
    line = on_paper(digits, rng)
    parts = seen_on(line, SHAPE, INK)
    assert len(parts) == 4
    assert [box_of(part)[0] for part in parts] == sorted(box_of(part)[0] for part in parts)
    two = Image.new("L", (line.width, 2 * line.height), 220)
    for row in (0, 1):
        two.paste(line, (0, row * line.height))
    boxes = [box_of(part) for part in seen_on(two, SHAPE, INK)]
    assert len(boxes) == 8
    assert max(y for _, y in boxes[:4]) < min(y for _, y in boxes[4:])


def test_pieces_of_one_sign_belong_together_and_dirt_is_left_out() -> None:
    picture = Image.new("L", (200, 200), 235)
    draw = ImageDraw.Draw(picture)
    draw.line([(80, 40), (140, 40)], fill=30, width=12)  # the bar of a 5, not joined to it
    draw.line([(80, 60), (80, 100), (130, 120), (120, 160), (80, 165)], fill=30, width=12)
    (whole,) = seen_on(picture, SHAPE, INK)
    for x, y in ((20, 20), (180, 90), (30, 170)):
        draw.ellipse([x, y, x + 3, y + 3], fill=40)
    (dirty,) = seen_on(picture, SHAPE, INK)
    assert difference(whole.image, dirty.image) < 0.01


def test_the_dark_table_in_a_corner_is_no_digit() -> None:
    picture = seven((300, 240))
    ImageDraw.Draw(picture).polygon([(0, 180), (0, 240), (90, 240)], fill=40)
    assert difference(only(picture), only(seven((300, 240)))) < 0.05


def test_another_network_gets_the_whole_picture_in_its_size_and_colours() -> None:
    pixels = np.zeros((60, 90, 3), np.uint8)
    pixels[:, 45:] = 255, 128, 0
    (part,) = seen_on(open_picture(as_bytes(Image.fromarray(pixels), "PNG")), (20, 30, 3), None)
    assert part.box == (0, 0, 90, 60)
    np.testing.assert_allclose(part.image[10, 20], [1, 128 / 255, 0], atol=0.01)
    np.testing.assert_allclose(part.image[10, 5], 0, atol=0.01)
    (grey,) = seen_on(Image.fromarray(pixels), (20, 30, 1), None)
    assert grey.image.shape == (20, 30, 1)


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_is_read(kind: str) -> None:
    picture = open_picture(as_bytes(seven(), kind))
    assert picture.size == (200, 160)


@pytest.mark.parametrize("ink", [INK, None])
def test_an_empty_picture_is_said_to_be_empty(ink: Ink | None) -> None:
    with pytest.raises(UserError, match="nothing is on it"):
        seen_on(Image.new("L", (200, 100), 200), SHAPE, ink)
    noise = np.random.default_rng(0).normal(200, 4, (200, 300)).clip(0, 255).astype(np.uint8)
    if ink:
        with pytest.raises(UserError, match="nothing is on it that stands out"):
            seen_on(Image.fromarray(noise), SHAPE, ink)


def test_what_is_no_picture_is_refused() -> None:
    whole = as_bytes(seven(), "PNG")
    gif = as_bytes(seven(), "GIF")
    for content in (b"", b"text", whole[:60], whole[: len(whole) // 2], gif):
        with pytest.raises(UserError, match="it is no picture that can be read, as PNG, JPEG, BMP, WEBP are"):
            open_picture(content)
    with pytest.raises(UserError, match=r"it has 200 x 160 pixels, of at most 30,000\. Make it smaller"):
        open_picture(whole, 30_000)
