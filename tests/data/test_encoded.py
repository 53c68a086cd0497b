"""The sentences of one language: cut, chosen, and long ones trained on in windows; small exact examples."""

import json

import numpy as np
import pytest

from ner.data import encoded
from ner.data.alignment import IGNORED, Window
from ner.data.encoded import MOST_WINDOWS, Encoded
from tests.helpers import runs


def window(first_word: int, labels: list[int]) -> Window:
    ids = [IGNORED, *labels, IGNORED]
    return Window(np.arange(len(ids), dtype=np.int32), np.array(ids, np.int32), first_word)


DATA = Encoded([["a", "b"], ["c"], ["d", "e", "f"]], np.array([1, 2, 0, 3, 4, 5]),
               [[window(0, [1]), window(1, [2])], [window(0, [0])], [window(0, [3, 4, 5])]],
               [("de", 4), ("fr", 0), ("de", 7)])


def test_lengths_and_parts():
    assert DATA.lengths == [2, 1, 3]
    assert [part.tolist() for part in DATA.per_sentence(DATA.gold)] == [[1, 2], [0], [3, 4, 5]]
    assert encoded.per_sentence(np.zeros(0), []) == []
    assert [part.tolist() for part in encoded.per_sentence(np.array([7]), [0, 1, 0])] == [[], [7], []]


def test_select_and_first():
    chosen = encoded.select(DATA, [2, 0])
    assert chosen.tokens == [["d", "e", "f"], ["a", "b"]] and chosen.gold.tolist() == [3, 4, 5, 1, 2]
    assert chosen.windows == [DATA.windows[2], DATA.windows[0]] and chosen.source == [("de", 7), ("de", 4)]
    assert encoded.first(DATA, 1).tokens == [["a", "b"]] and encoded.first(DATA, 9).tokens == DATA.tokens


def test_ids_are_changed_in_every_window():
    changed = DATA.with_ids(lambda ids: ids + 10)
    assert [[w.input_ids[0] for w in windows] for windows in changed.windows] == [[10, 10], [10], [10]]
    assert DATA.windows[0][0].input_ids[0] == 0


def test_a_sentence_of_many_windows_is_trained_on_in_windows():
    count = MOST_WINDOWS + 1
    words = [f"w{i}" for i in range(2 * count)]
    many = Encoded([*DATA.tokens, words], np.append(DATA.gold, np.arange(2 * count)),
                   [*DATA.windows, [window(2 * i, [2 * i, 2 * i + 1]) for i in range(count)]],
                   [*DATA.source, ("it", 3)])
    found = encoded.in_windows(many)
    assert found.tokens[:3] == DATA.tokens and found.windows[:3] == DATA.windows
    assert found.tokens[3:] == [words[2 * i : 2 * i + 2] for i in range(count)]
    assert found.gold.tolist() == many.gold.tolist() and found.source[3:] == [("it", 3)] * count
    assert all(len(windows) == 1 and windows[0].first_word == 0 for windows in found.windows[3:])
    same = encoded.in_windows(DATA)
    assert (same.tokens, same.windows, same.source) == (DATA.tokens, DATA.windows, DATA.source)


@pytest.mark.slow
def test_a_file_without_blank_lines_is_trained_in_steps(tmp_path):
    recipe = runs.make_recipe(tmp_path / "made")
    path = tmp_path / "made" / "data" / "de" / "train.tsv"
    path.write_text(path.read_text(encoding="utf-8").replace("\n\n", "\n"), encoding="utf-8")
    argv = runs.arguments(recipe, tmp_path / "run", "--max_length", "32", "--epochs", "1", "--stride", "0")
    status, log = runs.run_forked(argv, tmp_path / "log")
    assert status == 0, log
    assert json.loads((tmp_path / "run" / "results.json").read_text())["train"]["steps"] >= 6
