"""`make analysis`: run the analysis notebook on the store, and leave the executed copy beside it."""

import sys

from handwriting.errors import UserError
from handwriting.report import check_there
from handwriting.store import ROOT, default_uri, store_folder

NOTEBOOK = ROOT / "notebooks" / "analysis.ipynb"


def main() -> None:
    """Run it; a mistake of the user's, such as an empty store, ends in one line and exit code 1."""
    uri = default_uri()
    try:
        check_there(uri)

        from handwriting.analysis.read import read

        read(uri)  # says what is missing in one line, where the notebook would have to with a traceback
    except UserError as error:
        sys.exit(f"error: {error}")

    import nbformat
    from nbconvert import HTMLExporter
    from nbconvert.preprocessors import ExecutePreprocessor

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    ExecutePreprocessor(timeout=600).preprocess(notebook, {"metadata": {"path": str(NOTEBOOK.parent)}})
    copy = store_folder(uri) / NOTEBOOK.name
    nbformat.write(notebook, copy)
    page, _ = HTMLExporter().from_notebook_node(notebook)
    copy.with_suffix(".html").write_text(page)
    print(f"{copy}\n{copy.with_suffix('.html')}")


if __name__ == "__main__":
    main()
