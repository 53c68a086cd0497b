"""Reports with many test languages: a row each; published results only for whole test sets and English training."""

import json

import pytest

from ner.analysis import languages, report, transfer
from ner.analysis.collect import ReportedRun
from ner.options import as_recipe, resolve
from tests.helpers.results import fake_results, scores

F1 = {"en": 0.84, "de": 0.75, "nl": 0.80, "sw": 0.60, "zh": 0.30, "ja": 0.22, "xx": 0.5}


def write_run(folder, train_lang="en", sentences=10_000, f1=F1, interval=None):
    results = fake_results("en")
    results["options"] |= {"train_langs": [train_lang], "eval_langs": list(f1), "fractions": {}}
    results["eval"]["test"] = {lang: scores(value, sentences) for lang, value in f1.items()} | {
        "mean_f1": 0.5, **({"mean_f1_ci95": interval} if interval else {})}
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(results))


def table_in(text: str) -> dict[str, list[str]]:
    part = text.split("## F1 by language")[1].split("\n## ")[0]
    lines = [line.strip("|").split("|") for line in part.split("\n") if line[:1] == "|"]
    return {first.strip(): [cell.strip() for cell in rest] for first, *rest in lines}


def table_of(folder) -> dict[str, list[str]]:
    report.write_report(folder, {})
    return table_in((folder / "REPORT.md").read_text())


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two finished runs on English with seven test languages, and a third that is planned."""
    folder = tmp_path_factory.mktemp("study")
    write_run(folder / "en")
    write_run(folder / "en-2", f1={lang: value + 0.05 for lang, value in F1.items()})
    report.write_report(folder, {name: resolve({"train_langs": ["en"], "eval_langs": list(F1)})
                                 for name in ("en", "en-2", "en-3")})
    return folder


def test_every_language_has_a_row_with_its_family_and_the_published_result(study):
    text = (study / "REPORT.md").read_text()
    assert "F1 by training and test language" not in text and "heat" not in text
    rows = table_in(text)
    assert rows["language"] == ["family", "script", "en", "en-2", "en-3", "XLM-R-base, published"]
    assert rows["German (de)"] == ["Germanic", "Latin", "75.0 (74.0–76.0)", "80.0 (79.0–81.0)", "–", "74.4"]
    assert rows["xx"] == ["–", "–", "50.0 (49.0–51.0)", "55.0 (54.0–56.0)", "–", "–"]
    assert (study / "figures" / "languages.png").stat().st_size > 10_000


def test_the_published_mean_is_over_the_same_languages(tmp_path):
    known = {lang: value for lang, value in F1.items() if lang != "xx"} | {"el": 0.7}
    write_run(tmp_path / "en", f1=known)
    ours, theirs = table_of(tmp_path)["**mean**"][2:]
    assert ours == f"**{100 * sum(known.values()) / 7:.1f}**"
    assert theirs == f"{(83.0 + 74.4 + 80.0 + 66.3 + 25.3 + 21.0 + 73.8) / 7:.1f}"


def test_the_mean_by_argmax_stands_below_that_of_legal_tags(tmp_path, study):
    assert "argmax" not in (study / "REPORT.md").read_text(), "these runs have no such score"
    write_run(tmp_path / "a")
    path = tmp_path / "a" / "results.json"
    results = json.loads(path.read_text())
    for lang, value in F1.items():
        results["eval"]["test"][lang]["f1_argmax"] = value - 0.02
    path.write_text(json.dumps(results))
    rows = table_of(tmp_path)
    assert rows["mean by argmax"][2] == f"{100 * (sum(F1.values()) / 7 - 0.02):.1f}"
    assert "compare their means with the last line" in (tmp_path / "REPORT.md").read_text()
    results["options"]["decode"] = "argmax"
    path.write_text(json.dumps(results))
    assert "mean by argmax" not in table_of(tmp_path)


def test_a_mean_over_other_languages_than_ours_is_not_shown(study):
    """One of ours has no published result, so the two means would be over different languages."""
    cells = table_in((study / "REPORT.md").read_text())["**mean**"]
    assert cells[-1] == "–" and cells[2] == f"**{100 * sum(F1.values()) / 7:.1f}**"


def test_the_mean_has_its_interval_where_it_is_over_the_same_languages(tmp_path):
    write_run(tmp_path / "a", interval=[0.5, 0.6])
    write_run(tmp_path / "b", f1={**F1, "fr": 0.7}, interval=[0.5, 0.6])
    means = table_of(tmp_path)["**mean**"]
    assert means[2] == "–", "it has no French"
    assert means[3] == f"**{100 * (sum(F1.values()) + 0.7) / 8:.1f} (50.0–60.0)**"
    write_run(tmp_path / "alone" / "a", interval=[0.5, 0.6])
    assert table_of(tmp_path / "alone")["**mean**"][2] == f"**{100 * sum(F1.values()) / 7:.1f} (50.0–60.0)**"


@pytest.mark.parametrize(("train_lang", "sentences"), [("de", 10_000), ("en", 5000)])
def test_other_training_languages_or_parts_of_test_sets_are_not_compared(tmp_path, train_lang, sentences):
    write_run(tmp_path / "run", train_lang, sentences)
    assert table_of(tmp_path)["language"] == ["family", "script", "run"]
    assert "ublished" not in (tmp_path / "REPORT.md").read_text()


def test_the_sentences_say_where_a_run_is_above_and_below(study):
    text = (study / "REPORT.md").read_text()
    assert ("- en: above XLM-R-base's published F1 on zh; below on sw; published F1 in our interval on "
            "en, de, nl, ja") in text
    assert "Ours are over 6 of them." in text


def test_few_languages_keep_the_matrix():
    run = ReportedRun("en", None, as_recipe(resolve({"train_langs": ["en"]})), None)
    assert transfer.transfer_part([run], ["de", "fr", "it", "en"], {}) == ""


def test_the_forty_languages_are_those_of_xtreme():
    assert len(languages.PANX) == 40
    assert len({fact.name for fact in languages.PANX.values()}) == 40
    assert languages.published_mean(["en", "th"]) == pytest.approx((0.83 + 0.052) / 2)
