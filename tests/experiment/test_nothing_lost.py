"""A trained model is never lost: whatever fails after the last step, the weights are there; --resume ends the run."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ner.data.encoded import Encoded
from ner.evaluation import per_language
from ner.evaluation.predict import Predictions
from ner.tags import PANX_TYPES, tag_set
from ner.training import checkpoint
from tests.helpers import doubles, runs

TAGS = tag_set(PANX_TYPES)
LATER = ["predict", "entity_counts", "scores", "f1_interval", "by_type_intervals", "calibration", "mean_f1",
         "log_validation", "log_report", "log_confusion", "full_state", "save_model", "save_weights", "f1_table",
         "model_card", "write_predictions", "log_f1", "write_results", "remove_checkpoints"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    return runs.make_recipe(tmp_path_factory.mktemp("lost"), average="5")


@pytest.fixture(scope="module")
def whole(recipe) -> Path:
    folder = recipe.parent / "whole"
    assert runs.run_forked(runs.arguments(recipe, folder), recipe.parent / "log")[0] == 0
    return folder


def same_files(one: Path, other: Path) -> None:
    assert runs.outcome(one) | {"options": {}} == runs.outcome(other) | {"options": {}}  # checkpoint_every differs
    for part in ("model", "predictions"):
        ours, theirs = ({path.name: path.read_bytes() for path in (folder / part).iterdir() if path.suffix != ".md"}
                        for folder in (one, other))
        assert ours == theirs


@pytest.mark.slow
@pytest.mark.parametrize("every", ["4", "none"])
@pytest.mark.parametrize("name", LATER)
def test_whatever_fails_after_the_last_step_the_run_can_be_completed(recipe, whole, tmp_path, name, every):
    argv = runs.arguments(recipe, tmp_path / "run", "--checkpoint_every", every)
    status, log = runs.run_forked(argv, tmp_path / "log", doubles.fail_after_step, 30, name)
    assert status in (1, 2) and f"{name} was made to fail" in log
    if not (tmp_path / "run" / "results.json").exists():
        assert checkpoint.newest(tmp_path / "run" / "checkpoints")[0].name == "step-30"
    status, log = runs.run_forked([*argv, "--resume"], tmp_path / "log")
    assert status == 0, log
    same_files(whole, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.slow
def test_the_model_is_there_when_the_test_fails_every_time(recipe, tmp_path):
    """It can be used, and the run is not taken for a finished one."""
    argv = runs.arguments(recipe, tmp_path / "run")
    runs.run_forked(argv, tmp_path / "log", doubles.fail_after_step, 30, "model_card")
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
    status, log = runs.run_forked(argv, tmp_path / "log")
    assert status == 2 and "holds an unfinished run; continue it with --resume" in log


@pytest.mark.slow
def test_a_test_set_without_entities_and_a_model_that_finds_none(recipe, tmp_path):
    data = tmp_path / "data"
    runs.make_corpus(data, {"de": (37, 10, 12)})
    for split in ("validation", "test"):
        (data / "de" / f"{split}.tsv").write_text("Ja\tO\n.\tO\n\nNein\tO\n")
    argv = runs.arguments(recipe, tmp_path / "run", "--data_dir", str(data), "--eval_langs", "de", "--class_weights",
                          "O=100", "--max_steps", "12")
    status, log = runs.run_forked(argv, tmp_path / "log")
    assert status == 0 and "n/a" in log, log
    (test,) = (one for lang, one in json.loads((tmp_path / "run" / "results.json").read_text())["eval"]["test"].items()
               if lang == "de")
    assert (test["f1"], test["f1_ci95"], test["entities"]) == (0.0, None, 0)
    assert test["macro"]["f1_ci95"] is None


def test_a_training_set_without_entities_is_refused(recipe, tmp_path, capsys):
    import train

    data = runs.make_corpus(tmp_path / "data", {"de": (3, 2, 2)})
    (data / "de" / "train.tsv").write_text("Ja\tO\n.\tO\n\nNein\tO\n")
    assert train.main(runs.arguments(recipe, tmp_path / "run", "--data_dir", str(data), "--eval_langs", "de")) == 2
    assert "training data: found no entity in 2 sentences" in capsys.readouterr().err


labels = st.integers(0, len(TAGS.names) - 1)
gold_labels = st.integers(-1, len(TAGS.names) - 1)  # -1: without annotation


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.tuples(gold_labels, labels), min_size=1, max_size=6), min_size=1, max_size=5),
       st.booleans(), st.booleans())
def test_scoring_never_raises(sentences, without_gold, without_predictions):
    """Any gold and prediction; and what it gives can be shown, averaged and written."""
    words = [[f"w{i}" for i in range(len(one))] for one in sentences]
    gold, predicted = np.array([pair for one in sentences for pair in one]).T
    gold = np.where((gold > 0) & without_gold, 0, gold)
    gold[0] = max(gold[0], 0)  # a corpus has some annotation
    predicted = predicted * (not without_predictions)
    encoded = Encoded(words, gold, [[] for _ in words], [("de", i) for i in range(len(words))])
    answers = Predictions(predicted, np.ones(len(gold), np.float32), np.full(len(gold), 0.5, np.float32),
                          predicted)
    scored = {lang: per_language.score(encoded, answers, TAGS, training) for lang, training in
              {"de": None, "fr": words[:1], "it": []}.items()}
    one = scored["de"].metrics
    known = gold >= 0
    scorable = [part for part in encoded.per_sentence(known) if part.any()]
    entities = gold[known].any() or predicted[known].any()
    assert (one["f1_ci95"] is None) == (len(scorable) == 1 or not entities)
    per_language.f1_table(scored)
    json.dumps(per_language.metrics_of(scored), allow_nan=False)
