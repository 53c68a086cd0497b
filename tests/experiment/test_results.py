"""results.json read back: what is damaged is named by its place, before anything is made of it."""

import json

import pytest

from ner.experiment.folder import count, misfit, number, read_results, share
from ner.options import Options, UserError, as_recipe
from tests.helpers.results import fake_results


@pytest.mark.parametrize("value, shape, place", [
    (1, number, None), (-1, number, ""), ("1", number, ""), (1.5, share, ""), (0, count, ""), (1e400, number, ""),
    ([1, 2], [number], None), ([1, None], [number], "1"), ({}, [number], ""), ([], [number], None),
    ([0, 1], (share, share), None), ([0], (share, share), ""), ([0, 2], (share, share), "1"),
    ({"a": 1, "z": None}, {"a": number}, None), ({}, {"a": number}, "a"), ([], {"a": number}, ""),
    ({}, {"a?": number}, None), ({"a": None}, {"a?": number}, None), ({"a": "x"}, {"a?": number}, "a"),
    ({"mean": 1, "de": {"f1": "x"}}, {"mean": number, ...: {"f1": number}}, "de/f1"),
])
def test_misfit(value, shape, place):
    assert misfit(value, shape) == place


def results_in(folder, *keys, to):
    """Those of a run with one value replaced."""
    results = part = json.loads(json.dumps(fake_results("de")))
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = to
    (folder / "results.json").write_text(json.dumps(results))
    return folder / "results.json"


@pytest.mark.parametrize("keys, to, message", [
    (("eval", "test", "de", "f1"), None, r"cannot be read \('eval/test/de/f1' is missing or not what a run writes\)"),
    (("eval", "test", "de", "f1_ci95"), [0.1], "cannot be read .'eval/test/de/f1_ci95' is missing"),
    (("train", "epochs", 2, "validation", "fr"), 3, "cannot be read .'train/epochs/2/validation/fr' is missing"),
    (("eval", "test", "de", "loss"), float("nan"), "cannot be read .*not JSON compliant"),
    (("name",), "\ud800", "cannot be read .*surrogates not allowed"),
    (("versions",), True, "cannot be read .'versions' is missing"),
    (("options", "epochs"), "x", "epochs: expected a whole number, found 'x'"),
])
def test_damaged_results_are_one_sentence(tmp_path, keys, to, message):
    with pytest.raises(UserError, match=f"results.json: {message}") as caught:
        read_results(results_in(tmp_path, *keys, to=to))
    assert "\n" not in str(caught.value)


def test_options_are_as_a_run_has_them(tmp_path):
    """New options get their defaults; options that no longer exist are kept."""
    options = {"epochs": 5, "data_dir": 7, "seed": None, "gone": 1}
    found = read_results(results_in(tmp_path, "options", to=options))["options"]
    assert found == {"gone": 1} | as_recipe(Options(epochs=5, data_dir="7"))
