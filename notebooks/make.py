"""Make chapter4.ipynb, with its outputs, from chapter4.py: ``python -m notebooks.make``."""

from pathlib import Path

import jupytext
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
SCRIPT, NOTEBOOK = FOLDER / "chapter4.py", FOLDER / "chapter4.ipynb"


def executed():
    """The script as a notebook after it has run; what differs from run to run (ids, times, versions) is left out."""
    notebook = jupytext.read(SCRIPT)
    NotebookClient(notebook, record_timing=False, resources={"metadata": {"path": str(FOLDER)}}).execute()
    notebook.metadata.pop("language_info")
    for number, cell in enumerate(notebook.cells, 1):
        cell["id"] = f"cell-{number}"
    return notebook


if __name__ == "__main__":
    jupytext.write(executed(), NOTEBOOK)
