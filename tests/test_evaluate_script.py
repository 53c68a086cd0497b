"""evaluate.py score and tag, end to end, on a run and a model whose answers are known."""

import io
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from ner.training import machine
from tests.helpers import doubles
from tests.helpers.commands import call, refused
from tests.helpers.corpora import CORPUS, write_hub
from tests.helpers.folders import TAGS, lexicon_folder, tiny_folder
from tests.helpers.known import SENTENCES, make_run, write_data
from tests.helpers.paths import ROOT

TSV = ("Anna\tB-PER\tB-PER\nKeller\tI-PER\tI-PER\nwohnt\tO\tO\nin\tO\tO\nBern\tB-LOC\tB-LOC\n.\tO\tO\n\n"
       "der\tO\tO\nKeller\tO\tI-PER\nbei\tO\tO\nder\tO\tO\nPost\tB-LOC\tB-ORG\n.\tO\tO\n\n"
       "Genf\tB-LOC\tB-LOC\n\u200b\tO\tO\n\n")


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    """Runs without a name go to a folder of the test's own."""
    doubles.runs_folder(monkeypatch, tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run on data in de and fr: three test sentences each, one for validation."""
    folder = tmp_path_factory.mktemp("finished")
    for lang in ("de", "fr"):
        write_data(folder / "data", lang)
        write_data(folder / "data", lang, "validation", SENTENCES[:1])
    return make_run(folder / "known", folder / "data", decode="argmax")


def read(folder):
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def snapshot(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


# ---- score


def test_score_writes_results_and_predictions(run, runs, capsys):
    before = snapshot(run)
    status, shown, _ = call(capsys, "score", run)
    assert status == 0
    folder = runs / "known-test"
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        "predictions/test.de.tsv", "predictions/test.fr.tsv", "results.json"]
    assert (folder / "predictions" / "test.de.tsv").read_text(encoding="utf-8") == TSV
    results = read(folder)
    assert set(results) == {"name", "options", "versions", "machine", "eval"} and results["name"] == "known"
    assert results["machine"] == {"device": machine.device_name(torch.device("cpu")), "device_type": "cpu",
                                  "mixed_precision": "no", "processes": 1}
    assert list(results["eval"]) == ["test"]
    assert list(results["eval"]["test"]) == ["de", "fr", "mean_f1", "mean_f1_ci95"]
    german = results["eval"]["test"]["de"]
    assert (german["precision"], german["recall"], german["f1"]) == (0.6, 0.75, pytest.approx(2 / 3))
    assert (german["sentences"], german["words"], german["entities"]) == (3, 14, 4)
    assert {"f1_strict", "loss", "by_type", "macro", "weighted"} <= set(german)
    assert set(german["by_type"]["LOC"]) >= {"f1", "precision", "recall", "support"}
    assert results["eval"]["test"]["mean_f1"] == pytest.approx(2 / 3)
    low, high = results["eval"]["test"]["mean_f1_ci95"]
    assert low < 2 / 3 < high and f"{100 * low:.1f}-{100 * high:.1f}" in shown
    assert results["options"]["data_dir"] == str(run.parent / "data")
    assert "66.67" in shown and str(folder) in shown
    assert snapshot(run) == before, "the run itself is only read"


def test_score_decodes_as_the_run_or_as_it_is_told(run, tmp_path, capsys):
    """Without the I-PER that nothing has opened, one wrong entity less."""
    _, shown, _ = call(capsys, "score", run, "--decode", "viterbi", "--output_dir", tmp_path / "legal")
    assert call(capsys, "score", run, "--output_dir", tmp_path / "free")[0] == 0
    legal, free = read(tmp_path / "legal"), read(tmp_path / "free")
    assert (legal["options"]["decode"], free["options"]["decode"]) == ("viterbi", "argmax")
    german, its = legal["eval"]["test"]["de"], free["eval"]["test"]["de"]
    assert (german["precision"], german["recall"], german["f1"]) == (0.75, 0.75, 0.75)
    assert german["f1_strict"] == german["f1"] and german["f1_argmax"] == its["f1"] == its["f1_argmax"]
    assert its["f1"] == pytest.approx(2 / 3) and its["f1_strict"] == 0.75
    expected = TSV.replace("Keller\tO\tI-PER", "Keller\tO\tO")
    assert (tmp_path / "legal" / "predictions" / "test.de.tsv").read_text(encoding="utf-8") == expected
    table = [line.split() for line in shown.splitlines()[-6:-2]]
    assert table[1] == ["de", "75.00", table[1][2], "75.00", "75.00", "66.67", "3", "4"]
    assert table[3] == ["mean", "75.00", table[3][2], "66.67"] and max(map(len, shown.splitlines()[-6:-2])) <= 80


def test_score_twice_gives_the_same_metrics_in_a_new_folder(run, runs, capsys):
    for _ in range(2):
        assert call(capsys, "score", run, "--langs", "fr")[0] == 0
    first, second = read(runs / "known-test"), read(runs / "known-test-2")
    assert first == second and list(first["eval"]["test"]) == ["fr", "mean_f1", "mean_f1_ci95"]


def test_score_other_data_split_and_folder(run, tmp_path, capsys):
    data = write_data(tmp_path / "other", "it", "train", [[("Bern", "B-LOC"), ("Anna", "O")]])
    other = ("--data_dir", data, "--langs", "it", "--split", "train", "--output_dir", tmp_path / "o")
    assert call(capsys, "score", run, *other)[0] == 0
    assert read(tmp_path / "o")["eval"]["train"]["it"]["f1"] == pytest.approx(2 / 3)
    assert (tmp_path / "o" / "predictions" / "train.it.tsv").read_text() == "Bern\tB-LOC\tB-LOC\nAnna\tO\tB-PER\n\n"
    assert read(tmp_path / "o")["options"]["data_dir"] == str(data)


def test_score_keeps_the_fractions_of_the_run(tmp_path, capsys):
    for lang in ("de", "fr"):
        write_data(tmp_path / "data", lang, sentences=SENTENCES * 4)
    run = make_run(tmp_path / "run", tmp_path / "data", fractions={"de": 0.5})
    assert call(capsys, "score", run, "--output_dir", tmp_path / "o")[0] == 0
    assert [read(tmp_path / "o")["eval"]["test"][lang]["sentences"] for lang in ("de", "fr")] == [6, 12]


def test_another_corpus_is_scored_whole(tmp_path, capsys):
    for lang in ("de", "fr"):
        write_data(tmp_path / "data", lang, sentences=SENTENCES * 4)
    run = make_run(tmp_path / "run", tmp_path / "data", fractions={"de": 0.5})
    assert call(capsys, "score", run, "--dataset", "swiss", "--langs", "de", "--output_dir", tmp_path / "o")[0] == 0
    assert read(tmp_path / "o")["eval"]["test"]["de"]["sentences"] == 80


def test_options_of_the_data_are_those_of_the_corpus_that_is_scored(tmp_path, capsys, monkeypatch):
    """The run's say nothing of another data set; the command line's do."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf-cache")
    write_data(tmp_path / "data", "de")
    run = make_run(tmp_path / "run", tmp_path / "data", languages={"de": "German (DE)"}, split_seed=4, tag_column="2",
                   dataset="user/set")
    settings = run / "config.yaml"
    settings.write_text(re.sub("data_dir: .*", "data_dir: null", settings.read_text()))
    config = write_hub(tmp_path / "configurations", {"de": CORPUS})
    assert call(capsys, "score", run, "--dataset", config, "--langs", "de", "--output_dir", tmp_path / "a")[0] == 0
    options = read(tmp_path / "a")["options"]
    assert (options["languages"], options["split_seed"], options["tag_column"]) == ({}, None, None)
    other = write_hub(tmp_path / "others", {"Other (X)": CORPUS, "French (FR)": CORPUS})
    given = ("--dataset", other, "--langs", "fr", "--languages", "fr=French (FR)", "--split_seed", "3",
             "--tag_column", "ner_tags")
    assert call(capsys, "score", run, *given, "--output_dir", tmp_path / "b")[0] == 0
    options = read(tmp_path / "b")["options"]
    assert (options["languages"], options["split_seed"]) == ({"fr": "French (FR)"}, 3)
    assert read(tmp_path / "b")["eval"]["test"]["fr"]["sentences"] == len(CORPUS["test"])
    status, _, error = call(capsys, "score", run, "--dataset", other, "--langs", "fr", "--languages", "fr")
    assert status == 2 and "languages: expected a mapping such as {de: German}" in error


def test_score_a_model_from_elsewhere_with_its_own_order_of_tags(run, tmp_path, capsys):
    folder = lexicon_folder(tmp_path / "model", tuple(reversed(TAGS)))
    arguments = ("--data_dir", run.parent / "data", "--langs", "de", "--decode", "argmax")
    assert call(capsys, "score", folder, *arguments, "--output_dir", tmp_path / "a")[0] == 0
    assert call(capsys, "score", run, *arguments, "--output_dir", tmp_path / "b")[0] == 0
    theirs, ours = (read(tmp_path / name)["eval"]["test"]["de"] for name in "ab")
    for name in ("precision", "recall", "f1", "f1_strict", "words", "entities"):
        assert theirs[name] == ours[name], name
    assert (tmp_path / "a" / "predictions" / "test.de.tsv").read_text() == TSV
    assert read(tmp_path / "a")["options"]["model"] == str(folder)


OTHER_TYPES = [
    [("Anna", "B-PERSON"), ("Bern", "B-ARTIST"), ("Genf", "B-GPE"), ("Bern", "B-LOC")],
    [("in", "B-MISC"), ("und", "I-MISC"), ("Post", "I-LOC"), ("Genf", "I-GPE"), ("wohnt", "O")]]


def test_score_data_with_other_types(run, tmp_path, capsys):
    data = write_data(tmp_path / "data", "de", sentences=OTHER_TYPES)
    write_data(tmp_path / "data", "fr", sentences=[[("Anna", "B-PERSON")]])
    pairs = ["MISC=O", "PERSON=PER", "ARTIST=PER", "GPE=LOC"]
    status, shown, _ = call(capsys, "score", run, "--data_dir", data, "--output_dir", tmp_path / "o", "--map", *pairs)
    assert status == 0 and "\ntest, mapped: MISC=O PERSON=PER ARTIST=PER GPE=LOC\nlang " in shown
    assert read(tmp_path / "o")["mapped"] == {"MISC": "O", "PERSON": "PER", "ARTIST": "PER", "GPE": "LOC"}
    assert (tmp_path / "o" / "predictions" / "test.de.tsv").read_text() == (
        "Anna\tB-PER\tB-PER\nBern\tB-PER\tB-LOC\nGenf\tB-LOC\tB-LOC\nBern\tB-LOC\tB-LOC\n\n"
        "in\tO\tO\nund\tO\tO\nPost\tI-LOC\tB-ORG\nGenf\tB-LOC\tB-LOC\nwohnt\tO\tO\n\n")
    german = read(tmp_path / "o")["eval"]["test"]["de"]
    assert german["entities"] == 6 and german["by_type"]["LOC"]["support"] == 4
    assert call(capsys, "score", run, "--output_dir", tmp_path / "p", "--map", "LOC=O")[0] == 0
    assert read(tmp_path / "p")["eval"]["test"]["de"]["entities"] == 1


def test_errors_of_data_with_other_types(run, tmp_path, capsys):
    """The gold tags on the page are the model's: Bern, a B-ARTIST of the data, is a PER that was taken for a LOC."""
    data, out = write_data(tmp_path / "data", "de", "validation", OTHER_TYPES), tmp_path / "o"
    pairs = ["MISC=O", "PERSON=PER", "ARTIST=PER", "GPE=LOC"]
    arguments = ("errors", run, "--data_dir", data, "--langs", "de", "--output_dir", out, "--map", *pairs)
    status, shown, _ = call(capsys, *arguments)
    assert status == 0 and "\nvalidation, mapped: MISC=O PERSON=PER ARTIST=PER GPE=LOC\nde\n" in shown
    assert "validation, mapped: MISC=O PERSON=PER ARTIST=PER GPE=LOC</h1>" in (out / "errors.html").read_text()
    assert [line.split() for line in shown.split("\n")[6:9]] == [
        ["PER", *"21110000"], ["ORG", *"01000000"], ["LOC", *"44310000"]]
    before = snapshot(out)
    assert f"{out / 'errors.html'}: already exists" in refused(capsys, *arguments)
    assert snapshot(out) == before


def test_score_refuses_a_map_with_unknown_types(run, tmp_path, capsys):
    data = write_data(tmp_path / "data", "de", sentences=OTHER_TYPES)
    arguments = ("score", run, "--data_dir", data, "--langs", "de", "--output_dir", tmp_path / "o", "--map")
    for pairs, sentence in {
        ("PERSON",): "expected TYPE=TYPE or TYPE=O, as PERSON=PER, found 'PERSON'",
        ("=PER",): "expected TYPE=TYPE or TYPE=O, as PERSON=PER, found '=PER'",
        ("MISC=",): "expected TYPE=TYPE or TYPE=O, as PERSON=PER, found 'MISC='",
        ("GPE=LOC", "GPE=O"): "expected 'GPE' once, found LOC and O for it",
        ("PERSON=PRS",): "no type 'PRS' in the model; there are PER, ORG, LOC, O",
        ("B-MISC=O",): "no type 'B-MISC' in the data; there are ARTIST, GPE, LOC, MISC, PERSON",
    }.items():
        assert refused(capsys, *arguments, *pairs) == f"evaluate.py: --map: {sentence}"
    assert "expected at least one argument" in refused(capsys, *arguments)
    assert "'B-ARTIST' of word 2, 'Bern', is not in the tag set" in refused(
        capsys, *arguments, "PERSON=PER", "MISC=O")
    assert not (tmp_path / "o").exists()


def test_score_the_built_in_corpus(run, tmp_path, capsys):
    assert call(capsys, "score", run, "--dataset", "swiss", "--langs", "it", "--output_dir", tmp_path / "o")[0] == 0
    words = [line for line in (tmp_path / "o/predictions/test.it.tsv").read_text().split("\n") if line]
    assert len(words) == read(tmp_path / "o")["eval"]["test"]["it"]["words"] > 500


def test_score_refuses_and_overwrites_nothing(run, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    finished, started = tmp_path / "finished", tmp_path / "started"
    for folder, name in ((finished, "results.json"), (started, "config.yaml")):
        folder.mkdir()
        (folder / name).write_text("mine")
    write_data(tmp_path / "dates", sentences=[[("1999", "B-DATE")]])
    (tmp_path / "broken" / "de").mkdir(parents=True)
    (tmp_path / "broken" / "de" / "test.tsv").write_text("de:Bern\tB-LOC\nde:Genf\n")
    bare = tiny_folder(tmp_path / "bare", tags=("LABEL_0", "LABEL_1"))
    (tmp_path / "other" / "model").mkdir(parents=True)
    study = tmp_path / "study"
    study.mkdir()
    (study / "config.yaml").write_text("runs: {a: {}}")
    before = snapshot(tmp_path)
    assert "holds a finished run" in refused(capsys, "score", run, "--output_dir", finished)
    assert "holds an unfinished run" in refused(capsys, "score", run, "--output_dir", started)
    assert "is a file" in refused(capsys, "score", run, "--output_dir", tmp_path / "file")
    assert "file/o" in refused(capsys, "score", run, "--output_dir", tmp_path / "file" / "o")
    assert "has a model/ that is not from a run" in refused(capsys, "score", run, "--output_dir", tmp_path / "other")
    sentence = refused(capsys, "score", run, "--output_dir", "\udcff")
    assert r"'\udcff' contains a control character or is not UTF-8" in sentence
    assert "control character" in refused(capsys, "score", run, "--output_dir", f"{tmp_path}/a\nb")
    assert "data_dir: expected text, found ''" in refused(capsys, "score", run, "--data_dir", "")
    assert "--sentences: expected at least 0" in refused(capsys, "errors", run, "--sentences", "-1")
    assert "several runs" in refused(capsys, "score", study)
    assert "'B-DATE'" in refused(capsys, "score", run, "--data_dir", tmp_path / "dates", "--langs", "de")
    assert "test.tsv:2" in refused(capsys, "score", run, "--data_dir", tmp_path / "broken", "--langs", "de")
    assert "de, fr" in refused(capsys, "score", run, "--langs", "xx")
    assert "names no tags" in refused(capsys, "score", bare, "--dataset", "swiss")
    assert "no such folder" in refused(capsys, "score", tmp_path / "gone")
    assert "--spilt" in refused(capsys, "score", run, "--spilt", "test")
    assert "invalid choice" in refused(capsys, "score", run, "--split", "tset")
    assert snapshot(tmp_path) == before


def test_a_model_that_is_not_a_run_needs_data(run, tmp_path, capsys):
    """It would otherwise be scored, or tag, the built-in corpus without a word."""
    expected = f"{run / 'model'}: is not a run that knows its data; expected --data_dir or --dataset"
    assert refused(capsys, "score", run / "model").endswith(expected)
    assert refused(capsys, "errors", run / "model").endswith(expected)
    pseudo = ("pseudo", run / "model", "--langs", "de", "--output", tmp_path / "o")
    assert refused(capsys, *pseudo).endswith(expected)
    assert "no such folder" in refused(capsys, "pseudo", tmp_path / "gone", *pseudo[2:])
    assert refused(capsys, "export", run / "model", "--output", tmp_path / "o").endswith(
        "expected --text, --data_dir or --dataset")
    data = ("--data_dir", run.parent / "data", "--langs", "de")
    assert call(capsys, "score", run / "model", *data, "--output_dir", tmp_path / "s")[0] == 0
    assert not (tmp_path / "o").exists()


def test_the_command_line_says_how_much_of_other_data_to_take(tmp_path, capsys):
    for lang in ("de", "fr"):
        write_data(tmp_path / "data", lang, sentences=SENTENCES * 4)
    run = make_run(tmp_path / "run", tmp_path / "data", fractions={"de": 0.5})
    other = ("score", run, "--data_dir", tmp_path / "data", "--output_dir")
    for number, (given, sizes) in enumerate([((), (6, 12)), (("{}",), (12, 12)), (("fr=0.25",), (12, 3))]):
        status, _, error = call(capsys, *other, tmp_path / f"o{number}", *(("--fractions", *given) if given else ()))
        assert status == 0
        assert ("de: 0.5 of each split, as in the run; --fractions {} takes all" in error) == (not given)
        found = read(tmp_path / f"o{number}")["eval"]["test"]
        assert (found["de"]["sentences"], found["fr"]["sentences"]) == sizes


def test_a_language_that_other_data_lack_names_the_option(tmp_path, capsys):
    write_data(tmp_path / "data")
    run = make_run(tmp_path / "run", tmp_path / "data")
    path = run / "config.yaml"
    path.write_text(path.read_text().replace("- fr\n", "- fr\n- it\n- en\n"))  # the default of eval_langs
    assert "no language 'fr'; there are de; set --eval_langs (evaluate.py: --langs)" in refused(capsys, "score", run)


def test_a_run_in_another_precision(run, tmp_path, capsys):
    """One of a GPU's can be scored and tag on a CPU, if the user says so."""
    folder = shutil.copytree(run, tmp_path / "run")
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("mixed_precision: auto", "mixed_precision: fp16"))
    for argv in (("score", folder, "--output_dir", tmp_path / "o"), ("tag", folder, "Anna")):
        assert "fp16 needs a GPU; use no or auto" in refused(capsys, *argv)
        assert call(capsys, *argv, "--mixed_precision", "no")[0] == 0
    assert read(tmp_path / "o")["machine"]["mixed_precision"] == "no"


def test_weights_with_output_that_is_not_finite_are_refused(run, tmp_path, capsys):
    """Finite ones, whose products are not."""
    folder = shutil.copytree(run, tmp_path / "run")
    path = folder / "model" / "model.safetensors"
    state = load_file(path)
    state["classifier.weight"].fill_(3e38)
    save_file(state, path)
    for argv in (["score", folder, "--output_dir", tmp_path / "o"], ["tag", folder, "Bern", "--jsonl"]):
        assert "the model's output is not finite for " in refused(capsys, *argv)
    assert not (tmp_path / "o").exists()


def test_a_list_of_suspects_is_not_written_over(tmp_path, capsys):
    (tmp_path / "mine.tsv").write_text("mine")
    for path in (tmp_path / "mine.tsv", tmp_path):
        assert "already exists" in refused(capsys, "suspects", "--output", path)
    assert (tmp_path / "mine.tsv").read_text() == "mine"


# ---- tag


def test_tag_text(run, capsys):
    status, shown, _ = call(capsys, "tag", run, "Anna Keller wohnt in Bern.", "", "Genf")
    assert status == 0
    assert shown == "Anna\tB-PER\nKeller\tI-PER\nwohnt\tO\nin\tO\nBern\tB-LOC\n.\tO\n\n\nGenf\tB-LOC\n"


def test_tag_in_colour_on_a_terminal_alone(run, capsys, monkeypatch):
    texts = "Anna Keller wohnt in Bern.", "", "Genf"
    plain = call(capsys, "tag", run, *texts)[1]
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert call(capsys, "tag", run, *texts)[1] == (
        "\x1b[38;5;16;48;5;74m Anna Keller \x1b[1mPER \x1b[0m wohnt in \x1b[38;5;16;48;5;36m Bern \x1b[1mLOC \x1b[0m.\n"
        "\n\x1b[38;5;16;48;5;36m Genf \x1b[1mLOC \x1b[0m\n")
    for form in ("--jsonl", "--subwords"):
        assert "\x1b" not in call(capsys, "tag", run, *texts, form)[1]
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert call(capsys, "tag", run, *texts)[1] == plain
    monkeypatch.setenv("NO_COLOR", "")  # no-color.org: only if it is not empty
    assert "\x1b" in call(capsys, "tag", run, *texts)[1]


def test_tag_jsonl(run, capsys):
    status, shown, _ = call(capsys, "tag", run, "--jsonl", "in Bern\nund Genf", "")
    first, second = (json.loads(line) for line in shown.splitlines())
    assert status == 0 and second == {"text": "", "entities": []}
    assert all(0.5 < entity.pop("score") < 1 for entity in first["entities"])
    assert first == {"text": "in Bern\nund Genf", "entities": [
        {"type": "LOC", "text": "Bern", "start": 3, "end": 7}, {"type": "LOC", "text": "Genf", "start": 12, "end": 16}]}


def test_tag_subwords(run, capsys):
    status, shown, _ = call(capsys, "tag", run, "--subwords", "Post bei")
    assert status == 0
    assert [line.split()[0] for line in shown.splitlines()] == ["subword", "<s>", "▁Post", "▁bei", "</s>"]
    assert [line.split()[-1] for line in shown.splitlines()] == ["tag", "IGN", "B-ORG", "O", "IGN"]
    assert refused(capsys, "tag", run, "--subwords", "--jsonl", "x").endswith("--help")


def test_tag_standard_input(run, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("Anna\n\nGenf wohnt\n" + "in\n" * 300))
    status, shown, _ = call(capsys, "tag", run, "-")
    assert status == 0 and shown == "Anna\tB-PER\n\n\nGenf\tB-LOC\nwohnt\tO\n" + "\nin\tO\n" * 300


def test_several_processes_do_not_share_standard_input(run, capsys, monkeypatch):
    monkeypatch.setattr("accelerate.Accelerator.num_processes", 2)
    assert refused(capsys, "tag", run, "-") == (
        "evaluate.py: tag -: 2 processes cannot share standard input; start one, or use --input")


def test_tag_words_that_are_given(run, capsys, monkeypatch):
    """Words between spaces and JSON lines, with the marks of Windows."""
    text = '\ufeffAnna wohnt. (Bern)\r\n\r\n{"tokens": ["in", "Bern", "Genf Ost"]}\r\n'
    columns = ["Anna\tB-PER\nwohnt.\tO\n(Bern)\tO\n", "", "in\tO\nBern\tB-LOC\nGenf Ost\tB-LOC\n"]
    monkeypatch.setattr(sys, "stdin", io.StringIO(text, newline=""))
    status, shown, _ = call(capsys, "tag", run, "-", "--pretokenized")
    assert status == 0 and shown == "\n".join(columns)
    monkeypatch.setattr(sys, "stdin", io.StringIO(text, newline=""))
    status, shown, _ = call(capsys, "tag", run, "-", "--pretokenized", "--jsonl")
    found = [json.loads(line) for line in shown.splitlines()]
    assert status == 0 and [one["text"] for one in found] == ["Anna wohnt. (Bern)", "", "in Bern Genf Ost"]
    assert [entity["text"] for entity in found[2]["entities"]] == ["Bern", "Genf Ost"]
    assert found[2]["entities"][1]["start"] == 8 and found[2]["entities"][1]["end"] == 16
    assert call(capsys, "tag", run, "Anna wohnt.", "--pretokenized")[1] == "Anna\tB-PER\nwohnt.\tO\n"


def test_tag_a_clause_in_chinese(tmp_path, capsys):
    """A character per word, so that what the model knows is found."""
    model = lexicon_folder(tmp_path / "model", lexicon={"伯": "B-LOC", "尔": "I-LOC", "尼": "I-LOC"},
                           words=["安", "娜", "住", "在", "伯", "尔", "尼"])
    status, shown, _ = call(capsys, "tag", model, "安娜住在伯尔尼，1999年。", "--jsonl")
    assert status == 0 and [(e["text"], e["start"]) for e in json.loads(shown)["entities"]] == [("伯尔尼", 4)]


def test_tag_threshold(run, capsys):
    _, shown, _ = call(capsys, "tag", run, "--jsonl", "Anna in Bern")
    scores = [entity["score"] for entity in json.loads(shown)["entities"]]
    assert len(scores) == 2
    for threshold, kept in ((0, 2), (min(scores) - 1e-6, 2), (max(scores) + 1e-6, 0), (1, 0)):
        _, shown, _ = call(capsys, "tag", run, "--jsonl", "Anna in Bern", "--threshold", threshold)
        assert len(json.loads(shown)["entities"]) == kept
    assert call(capsys, "tag", run, "Anna in Bern", "--threshold", 1)[:2] == (0, "Anna\tO\nin\tO\nBern\tO\n")


def test_tag_3000_words(run, capsys):
    words = ["Bern", "und", "Anna"] * 1000
    status, shown, _ = call(capsys, "tag", run, " ".join(words))
    assert status == 0 and shown == "Bern\tB-LOC\nund\tO\nAnna\tB-PER\n" * 1000


def test_tag_refuses(run, tmp_path, capsys, monkeypatch):
    assert "is not UTF-8" in refused(capsys, "tag", run, "a\udcff")
    assert "holds no model/" in refused(capsys, "tag", make_unfinished(tmp_path / "unfinished", run), "x")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Bern\nZ\xfcrich\n"), encoding="utf-8"))
    assert "standard input is not UTF-8" in refused(capsys, "tag", run, "-")
    monkeypatch.setattr(sys, "stdin", io.StringIO('Bern\n{"tokens": [1]}\n'))
    assert refused(capsys, "tag", run, "-", "--pretokenized") == (
        "evaluate.py: standard input:2: no list of strings under 'tokens'; "
        'expected {"tokens": ["Anna", ...]} or words between spaces')
    for threshold in ("1.1", "-0.5", "nan"):
        sentence = refused(capsys, "tag", run, "x", f"--threshold={threshold}")
        assert sentence == f"evaluate.py: --threshold: expected a number from 0 to 1, found {threshold}"
    assert "--threshold: invalid float value: 'high'" in refused(capsys, "tag", run, "x", "--threshold", "high")
    assert "required: TEXT" in refused(capsys, "tag", run)


def make_unfinished(folder, run):
    folder.mkdir()
    (folder / "config.yaml").write_bytes((run / "config.yaml").read_bytes())
    return folder


# ---- as a process


NO_SOCKETS = """
import socket
def refuse(*args):
    raise OSError("no sockets here")
socket.socket.connect = socket.getaddrinfo = refuse
"""


def process(tmp_path, *argv, standard_input="", **environment):
    """evaluate.py in a new process that refuses sockets."""
    (tmp_path / "site").mkdir(exist_ok=True)
    (tmp_path / "site" / "sitecustomize.py").write_text(NO_SOCKETS)
    env = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "HF_HOME": str(tmp_path / "hub"), **environment}
    command = [sys.executable, ROOT / "evaluate.py", *map(str, argv)]
    return subprocess.run(command, env=env, capture_output=True, encoding="utf-8", cwd=tmp_path,
                          input=standard_input)


@pytest.mark.slow
def test_hub_model_offline_is_one_sentence(tmp_path):
    done = process(tmp_path, "tag", "someone/some-model", "Bern", HF_HUB_OFFLINE="1")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("evaluate.py: model someone/some-model: not a folder, and not available from the Hub")


@pytest.mark.slow
def test_run_needs_no_network(run, tmp_path):
    done = process(tmp_path, "tag", run, "Anna")
    assert (done.returncode, done.stdout) == (0, "Anna\tB-PER\n"), done.stderr


@pytest.mark.slow
def test_standard_input_of_windows(run, tmp_path):
    done = process(tmp_path, "tag", run, "-", "--pretokenized", "--threshold", "0.1", standard_input=
                   '\ufeffAnna in\r\n{"tokens": ["Bern"]}\r\n')
    assert (done.returncode, done.stdout) == (0, "Anna\tB-PER\nin\tO\n\nBern\tB-LOC\n"), done.stderr
