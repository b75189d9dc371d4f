"""The champion as one file for where there is no TensorFlow: a telephone, a browser, a small computer.

Writes FILE.tflite, which LiteRT runs, and FILE.json, with the classes and what a picture must be.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from handwriting import terminal
from handwriting.errors import UserError
from handwriting.options import model_parser
from handwriting.tracking import Store, default_uri

if TYPE_CHECKING:
    import keras

ENDING = ".tflite"
EPILOG = """\
Examples:

  python -m handwriting.export digits.tflite
  python -m handwriting.export --model letters@challenger letters.tflite
"""


def main() -> None:
    """Write what the arguments name; a mistake of the user's ends in one line and exit code 1."""
    terminal.survive()
    options = model_parser("export", __doc__, EPILOG)
    options.add_argument("file", metavar=f"FILE{ENDING}", type=Path, help="where it is written")
    arguments = options.parse_args()
    file: Path = arguments.file.absolute()
    try:
        if file.suffix != ENDING:
            raise UserError(f"{arguments.file}: the name must end in {ENDING}")
        if not os.access(file.parent, os.W_OK):
            raise UserError(f"{file.parent}: there is no such folder, or nothing can be written there")
        store = Store(arguments.uri or default_uri())
        store.check(made=True)
        export(store, arguments.model, file)
    except UserError as error:
        sys.exit(f"error: {error}")


def export(store: Store, name: str | None, file: Path) -> None:
    """Convert a model, and put both files in their places once they are whole."""
    with store.errors():
        from handwriting.serving.reading import model_named
        from handwriting.tracking.picture_model import expected

        model, called = model_named(store, name)
    about = file.with_suffix(".json")
    facts = {**model.facts, "model": called, "pictures": expected(model.facts["image_shape"])}
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        made = Path(folder, file.name)
        try:
            write_litert(model.network, made)
        except Exception as error:  # the converter raises many kinds, for an operation that it does not know
            raise UserError(f"{called} has something that LiteRT does not: {str(error)[:200]}") from error
        Path(folder, about.name).write_text(json.dumps(facts, indent=1), encoding="utf-8")
        for path in (made, Path(folder, about.name)):
            os.replace(path, file.parent / path.name)
    print(f"{called}\n{file}  {file.stat().st_size / 1e6:.2f} MB\n{about}")


def write_litert(network: "keras.Model", file: Path) -> None:
    """Convert a network for LiteRT, by the converter that TensorFlow brings."""
    network.export(file, format="litert", verbose=False)


if __name__ == "__main__":
    main()
