"""Whole folders of public corpora's shapes go through train.py to the end."""

import json

import pytest

from tests.helpers.columns import SHAPES, WORDS
from tests.helpers.runs import arguments, make_recipe, run_forked

pytestmark = pytest.mark.slow

RUN = ["two layers", "HIPE-2022", "CoNLL-U with name=", "MultiCoNER", "ids, no blank lines", "BIOES", "IO", "B_TYPE",
       "third column of many", "KLUE"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("columns")
    return make_recipe(folder, data_dir="replaced", tags=None, epochs=1, eval_langs=["de"], batch_size=2)


@pytest.mark.parametrize("shape", RUN)
def test_a_run_on_every_shape(tmp_path, recipe, shape):
    text, options, notice = SHAPES[shape]
    (tmp_path / "data" / "de").mkdir(parents=True)
    for split in ("train", "dev", "test"):
        (tmp_path / "data" / "de" / split).write_text(text, encoding="utf-8")
    more = [word for name, value in options.items() for word in (f"--{name}", value)]
    output = tmp_path / "out"
    status, log = run_forked(arguments(recipe, output, "--data_dir", str(tmp_path / "data"), *more), tmp_path / "log")
    assert status == 0, log
    assert notice is None or log.count(notice) == 3
    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    assert (results["eval"]["test"]["de"]["words"], results["eval"]["test"]["de"]["entities"]) == (11, 4)
    rows = (output / "predictions" / "test.de.tsv").read_text(encoding="utf-8").strip("\n").split("\n\n")
    assert [[row.split("\t")[0] for row in sentence.split("\n")] for sentence in rows] == WORDS
