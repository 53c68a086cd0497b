"""Reports over invented results: layout, unfinished studies, odd folders; two runs compared from their predictions."""

import json
import re
import shutil

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import evaluate as script
from ner.analysis import compare, notes, plots, report
from ner.analysis.collect import ReportedRun
from ner.evaluation.predictions import TaggedSentence, read_predictions
from ner.options import UserError, as_recipe, resolve
from tests.helpers.results import LANGS, SHARED, STUDY, fake_results


def write_run(folder, results: dict, predictions: dict[str, str] | None = None):
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(results))
    for name, text in (predictions or {}).items():
        (folder / "predictions").mkdir(exist_ok=True)
        (folder / "predictions" / name).write_text(text, encoding="utf-8", newline="\n")
    return folder


def make_study(folder, names=tuple(STUDY)):
    for name in names:
        write_run(folder / name, fake_results(name))
    return folder


def planned() -> dict:
    return {name: resolve({**SHARED, **own}) for name, (own, _, _) in STUDY.items()}


def rows_under(text: str, heading: str) -> dict[str, list[str]]:
    """The first table below a heading: first cell -> the other cells."""
    lines = text.split(f"## {heading}")[1].split("\n## ")[0].split("\n")
    start = next(i for i, line in enumerate(lines) if line.startswith("|:--"))
    table = []
    for line in lines[start + 1 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return {first: rest for first, *rest in table}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a finished study with its report, and what was written."""
    study = make_study(tmp_path_factory.mktemp("whole") / "study")
    return study, report.write_report(study, planned())


def test_the_matrix_has_the_rows_of_the_chapter_and_each_is_monolingual(whole):
    rows = rows_under((whole[0] / "REPORT.md").read_text(), "F1 by training and test language")
    assert list(rows) == ["de", "de-fr", "each", "all"]
    assert [cell.split()[0] for cell in rows["each"]] == ["85.9", "83.0", "80.0", "62.0"]
    assert [cell.split()[0] for cell in rows["de"]] == ["85.9", "70.0", "69.0", "60.0"]
    assert rows["de"][1] == "70.0 (67.9–72.1)"


@pytest.mark.slow
def test_an_unfinished_study_has_dashes_and_names_what_is_missing(tmp_path):
    report.write_report(make_study(tmp_path / "study", ["de", "fr-250"]), planned())
    text = (tmp_path / "study" / "REPORT.md").read_text()
    rows = rows_under(text, "F1 by training and test language")
    assert list(rows) == ["de", "de-fr", "each", "all"]
    assert rows["all"] == ["–"] * 4
    assert rows["each"][0].startswith("85.9") and rows["each"][1:] == ["–"] * 3
    assert "2 of 9 runs are finished. Missing: fr, it, en, de-fr, all, fr-1000, fr-2000." in text
    assert rows_under(text, "All runs")["fr"] == ["fr", "–", "–", "–", "–", "–"]
    assert "learning_curve" not in text


def test_a_study_without_any_finished_run_still_has_a_report(tmp_path):
    report.write_report(tmp_path, planned())
    assert "0 of 9 runs are finished" in (tmp_path / "REPORT.md").read_text()


@pytest.mark.slow
def test_published_results_are_shown_only_for_test_sets_of_their_size(whole, tmp_path):
    text = re.sub(" +", " ", (whole[0] / "REPORT.md").read_text())
    assert "| each | 85.9 (+0.0) | 83.2 (-0.2) | 77.0 (+3.0) | 59.6 (+2.4) |" in text
    assert "validation F1" in text and "repeats the zero-shot result" in text
    study = make_study(tmp_path / "study", ["de", "fr", "fr-1000"])
    for path in study.glob("*/results.json"):
        results = json.loads(path.read_text())
        for lang in LANGS:
            results["eval"]["test"][lang]["sentences"] = 80
        path.write_text(json.dumps(results))
    report.write_report(study, planned())
    text = (study / "REPORT.md").read_text()
    assert "ublished" not in text and "xlm-roberta" not in text


def test_published_table_is_that_of_the_notes(shared):
    expected = json.loads((shared / "chapter4" / "expected.json").read_text())
    matrix = {row: cells for row, cells in expected["f1_matrix_xlm_roberta_base"].items() if row != "remark"}
    assert notes.PUBLISHED == matrix
    assert notes.PUBLISHED_CURVE == {int(n): f1 for n, f1 in expected["fr_learning_curve_validation_f1"].items()}


def test_crossing_is_interpolated_on_a_logarithmic_axis():
    points = [(250, 0.1), (1000, 0.5), (4000, 0.9)]
    assert report.crossing(points, 0.7) == pytest.approx(2000)
    assert report.crossing(points, 0.5) == pytest.approx(1000)
    assert report.crossing(points, 0.05) is None and report.crossing(points, 0.95) is None
    assert report.crossing([(250, 0.5), (500, 0.4), (1000, 0.6)], 0.5) == pytest.approx(500 * 2**0.5)


def test_crossing_text_says_when_the_curve_does_not_cross():
    text = notes.crossing_text("fr", "de", [(250, 0.5), (1000, 0.6)], (0.4, 0.3, 0.55), report.crossing, {})
    assert "**fewer than 250**" in text and "500" in text
    assert "more than 1,000" in notes.crossing_text("fr", "de", [(250, 0.5), (1000, 0.6)], (0.7, 0.6, 0.8),
                                                    report.crossing, {})


def test_crossing_text_of_a_curve_that_begins_above():
    assert notes.crossing_text("fr", "de", [(250, 0.6), (1000, 0.7)], (0.5, 0.4, 0.6), report.crossing, {}) == (
        "Training on fr alone is above zero-shot transfer from de (50.0) and its 95 % interval with **250** labelled "
        "sentences, the fewest here.\n")


def test_the_curve_takes_monolingual_runs_by_their_size(tmp_path):
    runs = report.collect(make_study(tmp_path / "study"), {})
    assert [n for n, _ in report.curve(runs, "fr")] == [250, 1000, 2000, 4580]
    assert [n for n, _ in report.curve(runs, "it")] == [1680]


def with_text(name: str, sentences: int, *langs: str) -> dict:
    """The results of a run of the study that also learned from unlabelled text."""
    results = fake_results(name)
    results["options"] |= {"teacher": f"/runs/{name}", "pseudo_langs": list(langs)}
    one = {"tagged": 2 * sentences, "sentences": sentences, "words": 10 * sentences, "masked": sentences,
           "entities": {"PER": 1}}
    results["train"] |= {"sentences": 3 * sentences,
                         "pseudo": {"teacher": f"/runs/{name}", "teacher_weights": "ab",
                                    "languages": dict.fromkeys(langs, one)}}
    return results


@pytest.mark.slow
@pytest.mark.parametrize("decode", ["viterbi", "argmax"])
def test_what_argmax_gives_is_shown_beside_legal_tags(tmp_path, decode):
    results = fake_results("de")
    results["options"]["decode"] = decode
    for metrics in results["eval"]["test"].values():
        if isinstance(metrics, dict):
            metrics["f1_argmax"] = metrics["f1"] - 0.012
    write_run(tmp_path / "study" / "de", results)
    report.write_report(tmp_path / "study", {})
    text = (tmp_path / "study" / "REPORT.md").read_text()
    row = next((line for line in text.partition("(argmax), gives:")[2].split("\n") if line.startswith("| de ")), "")
    assert row.replace(" ", "") == ("|de|84.7|68.8|67.8|58.8|" if decode == "viterbi" else "")
    assert ("- Legal decoding: the published figures are argmax" in text) == (decode == "viterbi")


def test_runs_with_target_text_are_kept_apart(whole, tmp_path):
    study = make_study(tmp_path / "study")
    write_run(study / "round-1", with_text("de", 400, "fr", "it"))
    write_run(study / "fr-text", with_text("fr", 30_000, "it"))
    report.write_report(study, planned())
    text, before = ((folder / "REPORT.md").read_text() for folder in (study, whole[0]))
    rows = rows_under(text, "F1 by training and test language")
    assert list(rows) == ["de", "de-fr", "each", "all", "fr-text (with target text)", "round-1 (with target text)"]
    for part in ("Learning curve: fr", "Data"):
        assert text.split(f"## {part}")[1].split("\n## ")[0] == before.split(f"## {part}")[1].split("\n## ")[0]
    published = text.split("The published test F1")[1].split("\n\n")[1]
    assert "target text" not in published and published in before
    assert rows_under(text, "All runs")["round-1 (with target text)"][:2] == ["de, text of fr-it", "1,200"]
    assert re.sub(" +", " ", text).count("| round-1 | de | it | 800 | 400 | 4,000 | 10.0 % |") == 1
    assert "These runs are not zero-shot" in text and "target text" not in before
    runs = report.collect(study, {})
    assert [n for n, _ in report.curve(runs, "fr")] == [250, 1000, 2000, 4580]
    only = [run for run in runs if run.has_target_text]
    assert list(report.matrix(only, LANGS)) == ["fr-text (with target text)", "round-1 (with target text)"]


@pytest.mark.slow
def test_zero_shot_from_another_language_than_the_published_one(tmp_path):
    report.write_report(make_study(tmp_path / "study", ["it", "fr", "fr-1000", "fr-250"]), {})
    text = (tmp_path / "study" / "REPORT.md").read_text()
    assert list(rows_under(text, "F1 by training and test language")) == ["fr", "each"]  # by name: fr comes first
    in_order = {name: planned()[name] for name in ("it", "fr", "fr-1000")}  # of the study
    report.write_report(tmp_path / "study", in_order)
    assert "zero-shot transfer from it (66.0)" in (tmp_path / "study" / "REPORT.md").read_text()


def test_files_and_tensorboard_hold_the_same(whole):
    study, written = whole
    names = {path.stem for path in written if path.suffix == ".png"}
    assert names == {"f1_matrix", "learning_curve_fr", "validation_f1", "loss", "reliability"}
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in written if path.suffix == ".png")
    assert {path.stem for path in written if path.suffix == ".svg"} == names and all(path.exists() for path in written)
    events = EventAccumulator(str(study / "report"))
    events.Reload()
    assert set(events.Tags()["images"]) == {f"report/{name}" for name in names}
    assert set(re.findall(r"\(figures/(\w+)\.png\)", (study / "REPORT.md").read_text())) == names


@pytest.mark.slow
def test_the_same_results_give_the_same_pictures(whole, monkeypatch):
    """Bytes, at any time; every picture is sharp, says in words what it shows, and asks nothing of the network."""
    study, _ = whole
    pictures = {path: path.read_bytes() for path in (study / "figures").iterdir()}
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")  # what matplotlib takes for the time
    report.write_report(study, planned())
    assert {path: path.read_bytes() for path in (study / "figures").iterdir()} == pictures
    for path, content in pictures.items():
        if path.suffix == ".svg":
            text = content.decode()
            assert text.startswith("<?xml") and "date" not in text and "<path" in text and len(text) < 300_000, path
            assert not re.search(r'href="(?!#|data:)', text), path
    alternatives = re.findall(r"!\[(.*?)\]", (study / "REPORT.md").read_text())
    assert len(set(alternatives)) == len(pictures) // 2 and all(len(words.split()) > 5 for words in alternatives)


def test_results_of_several_seeds_show_their_deviation_and_hide_the_single_runs(tmp_path):
    whole = fake_results("de")
    whole["train"].pop("epochs")
    for lang in LANGS:
        whole["eval"]["test"][lang]["f1_sd"] = 0.004
        whole["eval"]["test"][lang].pop("calibration")
    write_run(tmp_path / "de", whole)
    write_run(tmp_path / "de" / "seed-1", fake_results("de"))
    assert [run.name for run in report.collect(tmp_path, {"de/seed-1": resolve({})})] == ["de"]
    write_run(tmp_path / "a", fake_results("all"))
    in_order = {name: resolve({}) for name in ("fr", "de/seed-1", "de/seed-2", "a")}
    assert [run.name for run in report.collect(tmp_path, in_order)] == ["fr", "de", "a"]
    shutil.rmtree(tmp_path / "a")
    report.write_report(tmp_path, {})
    assert rows_under((tmp_path / "REPORT.md").read_text(), "All runs")["de"][2] == "85.9 ± 0.4 (84.6–87.2)"


@pytest.mark.slow
def test_data_of_several_seeds_are_counted(tmp_path):
    results = fake_results("de")
    results["options"] |= {"data_dir": None, "dataset": "swiss", "fractions": {}, "eval_langs": ["de"],
                           "seed": None, "seeds": [1, 2]}
    report.write_report(write_run(tmp_path / "de", results), {})
    assert rows_under((tmp_path / "de" / "REPORT.md").read_text(), "Data")["train"][:2] == ["de", "10,000"]


def test_a_language_that_an_epoch_lacks_has_no_curve(tmp_path):
    results = fake_results("de")
    results["train"]["epochs"][1]["validation"].pop("fr")
    results["eval"]["test"]["de"]["unseen_sentences"] = None
    report.write_report(write_run(tmp_path / "de", results), {})
    assert "85.9 (" in (tmp_path / "de" / "REPORT.md").read_text()


@pytest.mark.slow
def test_a_single_run_a_score_without_training_and_an_empty_folder(tmp_path):
    write_run(tmp_path / "one", fake_results("de"))
    for _ in range(2):
        report.write_report(tmp_path / "one", {})
    assert len(list((tmp_path / "one" / "report").iterdir())) == 1  # the second report replaces the first
    assert "1 of 1 runs" in (tmp_path / "one" / "REPORT.md").read_text()
    scored = fake_results("de")
    del scored["train"]
    report.write_report(write_run(tmp_path / "scored", scored), {})
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "missing"):
        with pytest.raises(UserError, match="found no run"):
            report.write_report(folder, {})
    (tmp_path / "empty" / "results.json").write_text("[1]")
    with pytest.raises(UserError, match="results of a run"):
        report.write_report(tmp_path / "empty", {})


@pytest.mark.slow
def test_data_table_counts_the_built_in_corpus(tmp_path):
    results = fake_results("de")
    results["options"] |= {"data_dir": None, "dataset": "swiss", "fractions": {}, "eval_langs": ["de"]}
    report.write_report(write_run(tmp_path / "de", results), {})
    row = next(line for line in (tmp_path / "de" / "REPORT.md").read_text().split("\n")
               if re.match(r"\| test +\| +de \|", line))
    cells = [cell.strip() for cell in row.split("|")[1:9]]
    assert cells == ["test", "de", "80", "1,067", "47", "46", "58", "0 (0.0 %)"]


def test_every_language_keeps_its_colour():
    assert plots.styles([], ["fr", "de"])["de"] == plots.styles([], LANGS)["de"]
    assert len({style["color"] for style in plots.styles([], [*LANGS, "rm", "es"]).values()}) == 6


def test_another_language_has_the_colour_of_its_place_in_the_report():
    langs = [*LANGS, "nl", "es"]
    assert plots.styles(langs, ["es"])["es"] == plots.styles(langs, ["de", "nl", "es"])["es"]
    assert plots.styles(langs, ["es"])["es"] != plots.styles(langs, ["nl"])["nl"]


PREDICTED_A = "Anna\tB-PER\tB-PER\nin\tO\tO\nBern\tB-LOC\tB-LOC\n\nPost\tB-ORG\tB-ORG\n\n"
PREDICTED_B = "Anna\tB-PER\tB-PER\nin\tO\tO\nBern\tB-LOC\tO\n\nPost\tB-ORG\tB-LOC\n\n"


def test_predictions_are_read_back_as_they_were_written(tmp_path):
    path = tmp_path / "test.de.tsv"
    path.write_text("a\u2028b\tO\tO\nc\tB-X\tI-X\n\n\"\tO\tO\n\n", encoding="utf-8", newline="\n")
    assert read_predictions(path) == [TaggedSentence(["a\u2028b", "c"], ["O", "B-X"], ["O", "I-X"]),
                                      TaggedSentence(['"'], ["O"], ["O"])]


def test_comparing_two_runs(tmp_path, capsys):
    a = write_run(tmp_path / "a", {}, {"test.de.tsv": PREDICTED_A * 30, "test.fr.tsv": PREDICTED_A})
    b = write_run(tmp_path / "b", {}, {"test.de.tsv": PREDICTED_B * 30})
    (row,) = compare.compare(a, b)
    assert (row["split"], row["lang"], row["sentences"], row["f1_a"]) == ("test", "de", 60, 1.0)
    assert row["f1_b"] == pytest.approx(0.4) and row["difference"] == pytest.approx(0.6)
    assert row["interval"][0] > 0 and row["p"] < 0.001 and row["p_randomisation"] < 0.001
    assert script.main(["compare", str(a), str(b)]) == 0
    assert re.search(r"test +de +60 +100\.00 +40\.00 +\+60\.00 .*<0\.001 +<0\.001", capsys.readouterr().out)
    shutil.copy(a / "predictions" / "test.fr.tsv", b / "predictions")
    german, french, mean = compare.compare(a, b)
    assert german == row and french["difference"] == 0 and (mean["split"], mean["lang"]) == ("test", "mean")
    assert mean["difference"] == pytest.approx(0.3) and mean["sentences"] == 62 and mean["f1_b"] == pytest.approx(0.7)
    assert mean["interval"] == pytest.approx([end / 2 for end in row["interval"]])
    (b / "predictions" / "test.fr.tsv").unlink()
    (same,) = compare.compare(b, b)
    assert same["difference"] == 0 and same["p"] == 1 and same["p_randomisation"] == 1


def test_comparing_the_seeds_of_two_runs(tmp_path, capsys):
    """The mean over the seeds; randomisation needs as many on both sides."""
    for number, text in enumerate((PREDICTED_A, PREDICTED_B)):
        write_run(tmp_path / "a" / f"seed-{number}", {}, {"test.de.tsv": text * 30})
        write_run(tmp_path / "b" / f"seed-{number}", {}, {"test.de.tsv": PREDICTED_B * 30})
    (row,) = compare.compare(tmp_path / "a", tmp_path / "b")
    assert (row["f1_a"], row["f1_b"], row["difference"]) == (pytest.approx(0.7), pytest.approx(0.4), pytest.approx(0.3))
    assert row["sentences"] == 60 and row["p"] < 0.001 and row["p_randomisation"] < 0.001
    (tmp_path / "a" / "seed-9").mkdir()  # not finished
    (row,) = compare.compare(tmp_path / "a", tmp_path / "b" / "seed-0")
    assert row["difference"] == pytest.approx(0.3) and row["p_randomisation"] is None
    assert script.main(["compare", str(tmp_path / "a"), str(tmp_path / "b" / "seed-0")]) == 0
    assert capsys.readouterr().out.split()[-2:] == ["<0.001", "n/a"]


@pytest.mark.parametrize("other, message", [
    (PREDICTED_A.replace("Bern", "Biel"), "word 3 is 'Bern'"),
    (PREDICTED_A.replace("Bern", "B" * 10_000), "and 'B{79} \\(B-LOC\\) in the other"),
    (PREDICTED_A.replace("B-ORG\tB-ORG", "O\tB-ORG"), "word 4 is 'Post' \\(B-ORG\\)"),
    (PREDICTED_A.replace("\n\nPost", "\nPost"), "2 sentences of 4 words against 1 of 4"),
    (PREDICTED_A + PREDICTED_A, "against 4 of 8"),
    (PREDICTED_A.replace("in\tO\tO", "in\tO"),
     "b/predictions/test.de.tsv:2: expected word<TAB>gold<TAB>predicted, found 2"),
    (PREDICTED_A.replace("O\tO", "O\tXYZ"), "'XYZ' is not a tag|outside the tag set"),
    ("\n", "holds no sentence"),
])
def test_other_sentences_are_not_compared(tmp_path, capsys, other, message):
    a = write_run(tmp_path / "a", {}, {"test.de.tsv": PREDICTED_A})
    b = write_run(tmp_path / "b", {}, {"test.de.tsv": other})
    assert script.main(["compare", str(a), str(b)]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error) and error.startswith("evaluate.py: ") and error.count("\n") == 1


def test_runs_without_predictions_or_languages_in_common(tmp_path):
    a = write_run(tmp_path / "a", {}, {"test.de.tsv": PREDICTED_A})
    b = write_run(tmp_path / "b", {}, {"test.fr.tsv": PREDICTED_A})
    with pytest.raises(UserError, match="no split and language in common"):
        compare.compare(a, b)
    with pytest.raises(UserError, match="holds no predictions"):
        compare.compare(a, tmp_path / "nowhere")


def test_report_tests_the_rows_against_the_first(tmp_path):
    write_run(tmp_path / "de", fake_results("de"), {"test.fr.tsv": PREDICTED_B * 30})
    write_run(tmp_path / "all", fake_results("all"), {"test.fr.tsv": PREDICTED_A * 30})
    report.write_report(tmp_path, {})
    text = (tmp_path / "REPORT.md").read_text()
    lang, difference, *p = rows_under(text, "Differences")["all − de"]
    assert lang == "fr" and difference.startswith("+60.0 (+5") and p == ["<0.001", "<0.001"]
    assert "- all − de: better on fr" in text


def test_the_report_compares_seeds_that_both_have_and_runs_that_differ_in_options(tmp_path):
    """de has seeds 1 and 42, the others 42 alone; two of them learned from the same sentences as de."""
    group = fake_results("de")
    group["options"] |= {"seed": None, "seeds": [1, 42]}
    write_run(tmp_path / "de", group)
    write_run(tmp_path / "de" / "seed-1", fake_results("de"), {"test.fr.tsv": PREDICTED_A * 30})
    write_run(tmp_path / "de" / "seed-42", fake_results("de"), {"test.fr.tsv": PREDICTED_B * 30})
    for name, like in (("all", "all"), ("de-slow", "de"), ("fr", "fr"), ("fr-250", "fr-250")):
        write_run(tmp_path / name, fake_results(like), {"test.fr.tsv": PREDICTED_A * 30})
    tenth = fake_results("de")
    tenth["options"]["fractions"] = {**tenth["options"]["fractions"], "de": 0.06}
    write_run(tmp_path / "de-tenth", tenth, {"test.fr.tsv": PREDICTED_A * 30})
    report.write_report(tmp_path, {})
    text = (tmp_path / "REPORT.md").read_text()
    found = rows_under(text, "Differences")
    assert [name for name in found if " − " in name] == ["each − de", "all − de", "all − each", "de-slow − de"]
    assert all(found[name][0] == "fr" and found[name][1].startswith("+60.0 (+5")
               for name in ("all − de", "de-slow − de"))
    assert "- de-slow − de: better on fr" in text and " Means over seeds: de (2); the others have one." in text


def test_rows_tested_on_other_sentences_are_marked(tmp_path):
    write_run(tmp_path / "de", fake_results("de"), {"test.fr.tsv": PREDICTED_B})
    write_run(tmp_path / "all", fake_results("all"), {"test.fr.tsv": PREDICTED_A.replace("Bern", "Biel")})
    report.write_report(tmp_path, {})
    row = rows_under((tmp_path / "REPORT.md").read_text(), "Differences")["all − de"]
    assert row == ["fr", "other test sentences", "–", "–"]


def test_a_model_that_was_only_scored_has_no_row(tmp_path):
    scored = fake_results("de")
    del scored["train"]
    write_run(tmp_path / "de-test", scored)
    write_run(tmp_path / "fr", fake_results("fr"))
    report.write_report(tmp_path, {})
    text = (tmp_path / "REPORT.md").read_text()
    assert list(rows_under(text, "F1 by training and test language")) == ["fr"]
    assert rows_under(text, "All runs")["de-test"][0] == "–"


def test_a_run_without_suspects_is_not_on_the_curve(tmp_path):
    cleaned = fake_results("fr-1000")
    cleaned["options"]["exclude"] = "suspects.tsv"
    for name, results in {"fr": fake_results("fr"), "fr-250": fake_results("fr-250"), "clean": cleaned}.items():
        write_run(tmp_path / name, results)
    assert [n for n, _ in report.curve(report.collect(tmp_path, {}), "fr")] == [250, 4580]


def test_the_published_row_is_the_one_of_the_same_languages(tmp_path):
    for name in ("de", "de-fr"):
        results = fake_results(name)
        results["options"]["eval_langs"] = ["de", "fr"]
        write_run(tmp_path / name, results)
    runs = report.collect(tmp_path, {})
    rows = report.matrix(runs, ["de", "fr"])
    assert list(rows) == ["de", "all"]
    assert notes.published(rows, ["de", "fr"])["all"] == {"de": (0.862,), "fr": (0.848,)}


def test_the_largest_run_on_a_language_counts():
    def run(name, n):
        return ReportedRun(name, None, as_recipe(resolve({"train_langs": ["fr"], "num_train_sentences": n})), None)

    rows = report.matrix([run("small", 20), run("whole", None), run("again", None)], ["fr"])
    assert rows["fr"]["fr"].name == "whole"
