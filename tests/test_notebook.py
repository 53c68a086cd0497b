"""The notebook is what its script says, and runs."""

import re

import jupytext
import pytest

from notebooks.make import NOTEBOOK, SCRIPT, executed


def cells(notebook):
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def printed(notebook):
    """The text that each code cell prints."""
    return ["".join(output.get("text", "") for output in cell.outputs)
            for cell in notebook.cells if cell.cell_type == "code"]


def test_the_notebook_is_made_from_its_script():
    notebook = jupytext.read(NOTEBOOK)
    assert cells(notebook) == cells(jupytext.read(SCRIPT)) and len(notebook.cells) > 20


def test_it_has_run_from_top_to_bottom_and_shows_nothing_of_the_machine():
    code = [cell for cell in jupytext.read(NOTEBOOK).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert {output.get("name", "picture") for output in outputs} == {"stdout", "picture"}
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not re.search(r"/tmp|/home|/root|site-packages|Warning:|\d{4}-\d\d-\d\dT", text)


@pytest.mark.slow
def test_it_runs_and_finds_what_it_says():
    """Until the training, exactly what the notebook shows; losses and scores differ between processors."""
    shown, now = printed(jupytext.read(NOTEBOOK)), printed(executed())
    first = next(number for number, text in enumerate(shown) if text.startswith("epoch 1"))
    assert first > 5 and now[:first] == shown[:first] and len(now) == len(shown)
    scores = {lang: (float(german), float(every)) for lang, german, every in
              re.findall(r"^(\w\w) +\d+ +([\d.]+) +([\d.]+)$", now[-1], re.MULTILINE)}
    assert list(scores) == ["de", "fr", "it", "en"] and all(german > 35 for german, _ in scores.values())
    assert all(every > german + 5 for lang, (german, every) in scores.items() if lang != "de")
