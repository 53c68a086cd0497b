"""What `python train.py` prints last: real test sentences with the predicted tags, and commands that exist."""

import sys

import pytest

import train
from ner.evaluation.predictions import TaggedSentence, write_predictions
from ner.experiment import first_look
from ner.experiment.folder import new_folder
from tests import readme
from tests.helpers import doubles, runs

RESULTS = {"train": {"langs": ["de"]},
           "eval": {"test": {"de": {}, "fr": {"by_type": {"PER": {}, "LOC": {}}}, "mean_f1": 0.5,
                             "mean_f1_ci95": [0.4, 0.6]}}}
PLAIN = TaggedSentence(["Elle", "dort", "."], ["O"] * 3, ["O"] * 3)
TOLD = TaggedSentence(["Anne", "vit", "à", "Lyon", "."], ["B-PER", "O", "O", "B-LOC", "O"],
                      ["B-LOC", "O", "O", "B-LOC", "O"])
LONG = TaggedSentence(["mot"] * 40, ["B-PER", "B-LOC", "B-ORG", *["O"] * 37], ["O"] * 40)


@pytest.fixture
def folder(tmp_path):
    write_predictions(tmp_path / "runs" / "a" / "predictions" / "test.fr.tsv", [PLAIN, LONG, TOLD, TOLD])
    return tmp_path / "runs" / "a"


def test_plain_where_there_is_no_terminal(folder, capsys):
    first_look.show(folder, RESULTS)
    shown = capsys.readouterr().out
    assert "(fr):\n  [Anne LOC] vit à [Lyon LOC] .\n\nnext:\n" in shown and "\x1b" not in shown


def test_in_colour_on_a_terminal_unless_no_color_is_set(folder, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    first_look.show(folder, RESULTS)
    assert "  \x1b[38;5;16;48;5;214m Anne \x1b[1mLOC \x1b[0m vit à" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    first_look.show(folder, RESULTS)
    assert "\x1b" not in capsys.readouterr().out


def test_once_for_all_processes(folder, capsys, monkeypatch):
    monkeypatch.setattr(first_look.PartialState, "is_main_process", False)
    first_look.show(folder, RESULTS)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("sentences, chosen", [([PLAIN, LONG, TOLD], TOLD), ([PLAIN, PLAIN], PLAIN), ([LONG], LONG)])
def test_the_sentence_that_tells_most(sentences, chosen):
    assert first_look.telling(sentences) is chosen


def test_the_commands_exist(folder):
    commands = first_look.NEXT.format(folder=folder, runs=folder.parent).replace("\n  ", "\n")
    assert len(readme.COMMAND.findall(commands.split("\n")[1])) == 1 and commands.count("python ") == 3
    assert readme.refused_commands(f"```\n{commands}\n```\n") == []
    assert len(readme.refused_commands(f"```\n{commands.replace('--train_langs', '--train_lang')}\n```\n")) == 1


def test_only_the_run_without_arguments_ends_like_this(tmp_path, monkeypatch, capsys):
    recipe = runs.make_recipe(tmp_path, epochs=1)
    monkeypatch.setattr(train, "QUICKSTART", recipe)
    doubles.runs_folder(monkeypatch, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    assert train.main([]) == 0
    shown = capsys.readouterr().out
    assert "TensorBoard events\n\ntest sentences in languages without training data, tagged by the model (fr):" in shown
    assert "  python evaluate.py errors runs/recipe\n" in shown
    assert train.main(["--config", str(recipe)]) == 0
    assert "next:" not in capsys.readouterr().out


def test_a_folder_is_named_from_the_current_one(tmp_path, monkeypatch):
    doubles.runs_folder(monkeypatch, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    assert str(new_folder("a")) == "runs/a"
    (tmp_path / "runs" / "a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "runs" / "a")
    assert new_folder("a") == tmp_path / "runs" / "a-2"


def test_without_a_recipe_the_built_in_corpus_is_not_the_quickstart(monkeypatch, capsys):
    """A newcomer who changes one option of the first command gets another run, and is told so."""
    monkeypatch.setattr("ner.experiment.experiment.run", lambda *_: {})
    train.train(["--seed", "1"])
    hint = "the quickstart with yours: python train.py --config configs/quickstart.yaml --seed 1\n"
    assert capsys.readouterr().out.endswith(hint)
    train.train(["--seed", "1", "--data_dir", "mine"])
    monkeypatch.setenv("RANK", "1")
    train.train(["--seed", "1"])
    assert capsys.readouterr().out == ""
