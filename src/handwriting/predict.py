"""`make predict FILE=...`: what the champion reads on pictures of your own.

Any size, light on dark or dark on light, drawn or photographed. Several signs on one picture are read from
left to right, line by line.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from handwriting import terminal
from handwriting.errors import UserError
from handwriting.options import model_parser
from handwriting.tracking import Store, default_uri

if TYPE_CHECKING:
    from handwriting.serving.pictures import Seen
    from handwriting.serving.reading import Reading

EPILOG = """\
Examples:

  python -m handwriting.predict 2026.jpg
  python -m handwriting.predict scans/ --json
  python -m handwriting.predict --model letters@challenger a.png b.png --show seen.png
"""
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
AT_ONCE = 500  # parts that are read in one batch
SHOWN = 4  # times as large as the network sees a part


def main() -> None:
    """Read what the arguments name; exit code 1 where one of them could not be read."""
    terminal.survive()
    options = model_parser("predict", __doc__, EPILOG)
    options.add_argument(
        "files", nargs="+", metavar="PICTURE", help="a file, a folder of them, or - for standard input"
    )
    options.add_argument("--json", action="store_true", help="print JSON, with the place of each sign")
    options.add_argument("--show", metavar="FILE", type=Path, help="write what the network saw, as a picture")
    arguments = options.parse_args()
    try:
        files = list(pictures_in(arguments.files))
        if arguments.show and not arguments.show.absolute().parent.is_dir():
            raise UserError(f"--show: there is no folder {arguments.show.absolute().parent}")
        store = Store(arguments.uri or default_uri())
        store.check(made=True)
        failed = predict(store, files, arguments.model, arguments.json, arguments.show)
    except UserError as error:
        sys.exit(f"error: {error}")
    if failed:
        sys.exit(1)


def pictures_in(named: Sequence[str]) -> Iterator[str]:
    """Return the files that are named, those of a folder in the order of their names.

    Raises:
        UserError: there is no such file, or a folder has no picture.
    """
    for name in named:
        path = Path(name)
        if name != "-" and path.is_dir():
            found = sorted(file for file in path.iterdir() if file.suffix.lower() in ENDINGS)
            if not found:
                raise UserError(f"{name}: no picture is in this folder ({', '.join(ENDINGS)})")
            yield from map(str, found)
        elif name == "-" or path.is_file():
            yield name
        else:
            raise UserError(f"{name}: there is no such file")


def readable(files: Sequence[str]) -> Iterator[str]:
    """Return the files that begin as pictures do, and standard input; say which do not."""
    from handwriting.serving.pictures import check_format  # 1 s: a file that is missing is said before

    for file in files:
        try:
            if file != "-":
                check_format(Path(file))
            yield file
        except UserError as error:
            say(file, error)


def say(file: str, error: Exception) -> None:
    """Say why a picture is not read; the others are."""
    print(f"error: {file}: {error}", file=sys.stderr)


def predict(store: Store, files: Sequence[str], name: str | None, as_json: bool, show: Path | None) -> int:
    """Read pictures and print what they say; return how many could not be read."""
    from handwriting.serving.pictures import open_picture, seen_on

    known = list(readable(files))
    failed = len(files) - len(known)
    if not known:  # said before a model is loaded, which takes seconds
        return failed
    with store.errors():
        from handwriting.serving.reading import ink_for, model_named, read

        model, called = model_named(store, name)
    shape, ink = model.facts["image_shape"], ink_for(model)
    readings: dict[str, list[Reading]] = {}
    waiting: list[tuple[str, Seen]] = []
    shown: list[Seen] = []

    def read_waiting() -> None:
        for (file, _), reading in zip(waiting, read(model, [part for _, part in waiting]), strict=True):
            readings[file].append(reading)
        waiting.clear()

    for file in known:
        try:
            content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
            seen = seen_on(open_picture(content), shape, ink)
        except (UserError, OSError) as error:
            failed += 1
            say(file, error)
            continue
        readings[file] = []
        waiting += [(file, part) for part in seen]
        shown += seen if show else []
        if len(waiting) >= AT_ONCE:
            read_waiting()
    read_waiting()
    if show and shown:
        write_sheet(show, shown, [reading.label for of_file in readings.values() for reading in of_file])
    if as_json:
        found = [
            {"file": file, "reading": joined(of_file), "parts": [asdict(part) for part in of_file]}
            for file, of_file in readings.items()
        ]
        print(json.dumps({"model": called, "pictures": found}, indent=1))
        return failed
    print(f"read by {called}")
    for file, of_file in readings.items():
        lines = [
            f"{part.label}  {part.probability:.1%}, or {part.second}  {part.second_probability:.1%}"
            for part in of_file
        ]
        if len(lines) == 1:
            print(f"{file}: {lines[0]}")
        else:
            print("\n  ".join([f"{file}: {joined(of_file)}", *lines]))
    return failed


def joined(readings: Sequence["Reading"]) -> str:
    """Return the classes of a picture's parts as one text: "2026", or with blanks where names are words."""
    labels = [reading.label for reading in readings]
    return ("" if all(len(label) == 1 for label in labels) else " ").join(labels)


def write_sheet(path: Path, seen: Sequence["Seen"], labels: Sequence[str]) -> None:
    """Write what the network saw, each part enlarged with what it was taken for below it.

    Raises:
        UserError: the file cannot be written as a picture.
    """
    import numpy as np
    from PIL import Image, ImageDraw

    height, width, channels = seen[0].image.shape
    columns = min(len(seen), 12)
    across, down = width * SHOWN + 8, height * SHOWN + 22
    sheet = Image.new("RGB", (columns * across, -(-len(seen) // columns) * down), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (part, label) in enumerate(zip(seen, labels, strict=True)):
        row, column = divmod(place, columns)
        pixels = (part.image * 255).round().astype(np.uint8)
        small = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
        large = small.resize((width * SHOWN, height * SHOWN), Image.Resampling.NEAREST)
        sheet.paste(large, (column * across + 4, row * down + 4))
        draw.text((column * across + 6, row * down + height * SHOWN + 6), label, "black")
    try:
        sheet.save(path)
    except (OSError, ValueError) as error:
        raise UserError(f"--show {path}: {error}. Name a .png file") from error


if __name__ == "__main__":
    main()
