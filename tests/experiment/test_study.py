"""Studies: what a recipe with `runs` or `seeds` plans, what is skipped and continued, two tiny ones really trained."""

import json
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
import yaml
from transformers import XLMRobertaConfig, XLMRobertaModel

import evaluate
import train as script
from ner.data import survey
from ner.experiment import folder as folder_module
from ner.experiment import plan, seeds, study
from ner.experiment.cli import read_arguments
from ner.experiment.folder import claim
from ner.model import builtin
from ner.options import UserError, as_recipe, resolve
from ner.recipe import is_study, read_recipe
from ner.training.signals import Stopped
from tests.helpers import doubles
from tests.helpers.known import write_data
from tests.helpers.paths import ROOT

RECIPES = sorted((ROOT / "configs").glob("*.yaml"))
RUNS = {"de": {"train_langs": ["de"]}, "few": {"train_langs": ["fr"], "num_train_sentences": 20}, "all": None}


def names(recipe: dict) -> list[str]:
    return [one.name for one in study.plan(recipe)]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_resolves(path):
    recipe = read_recipe(path)
    options = ([one.options for one in study.plan(recipe, path.name)] if is_study(recipe)
               else [resolve(recipe, path.name)])
    assert all(set(one.train_langs) <= set(one.eval_langs) for one in options)
    command = path.read_text(encoding="utf-8").split("\n")[0]
    assert command.endswith("train.py") or f"--config configs/{path.name}" in command


def test_the_chapter_is_eleven_runs_and_its_curve_validates_on_french_alone():
    others = ["de-self", "de-average"]
    for name, rate, seeds_of, more in (("chapter4", 2e-4, [42, 43, 44], others),
                                       ("chapter4-xlm-roberta-base", 5e-5, None, [])):
        every = study.plan(read_recipe(ROOT / "configs" / f"{name}.yaml"))
        planned = {one.group or one.name: one.options for one in every}
        assert [one.name for one in every if one.group] == [f"{run}/seed-{seed}" for run in ("de", "all")
                                                            for seed in seeds_of or []]
        assert list(planned) == ["de", "fr", "it", "en", "de-fr", "all",
                                 *(f"fr-{n}" for n in (250, 500, 1000, 2000, 4000)), *more]
        assert {one.learning_rate for one in planned.values()} == {rate}
        assert all(one.eval_langs == ["de", "fr", "it", "en"] for one in planned.values())
        for n in (250, 500, 1000, 2000, 4000):
            one = planned[f"fr-{n}"]
            assert (one.train_langs, one.validation_langs, one.num_train_sentences) == (["fr"], ["fr"], n)


def test_single_recipes_of_the_chapter_are_its_settings():
    for name, langs in {"de": ["de"], "fr": ["fr"], "de-fr": ["de", "fr"], "all": ["de", "fr", "it", "en"]}.items():
        options = resolve(read_recipe(ROOT / "configs" / f"panx-{name}.yaml"))
        assert (options.train_langs, options.learning_rate, options.epochs, options.batch_size) == (langs, 5e-5, 3, 64)
        assert options.fractions == {"de": 0.629, "fr": 0.229, "it": 0.084, "en": 0.059}


def test_runs_share_the_options_above_them_and_seeds_are_runs_of_their_own():
    planned = study.plan({"epochs": 2, "output_dir": "somewhere", "resume": True, "runs": RUNS})
    assert [one.name for one in planned] == ["de", "few", "all"]
    assert [one.options.epochs for one in planned] == [2, 2, 2]
    assert planned[1].options.num_train_sentences == 20 and planned[0].options.num_train_sentences is None
    assert all(one.options.output_dir is None and not one.options.resume for one in planned)
    first, _ = study.plan({"seeds": [1, 2]})
    assert (first.name, first.options.seed, first.options.seeds, first.group) == ("seed-1", 1, None, "")
    assert names({"runs": {"a": {"seeds": [3, 4]}, 7: None}}) == ["a/seed-3", "a/seed-4", "7"]
    assert not is_study({"seeds": None, "epochs": 1})


def test_all_problems_of_all_runs_are_reported_together():
    recipe = {"epochz": 3, "runs": {"de": {"batch_size": 0}, "a/b": {"output_dir": "x"}, "fr": ["fr"],
                                    "it": {"batch_size": 0}}}
    with pytest.raises(UserError) as error:
        study.plan(recipe, "r.yaml")
    assert str(error.value).split("\n") == [
        "r.yaml: unknown option 'epochz'; did you mean 'epochs'?",
        "r.yaml: run de, it: batch_size: expected at least 1, found 0",
        "r.yaml: run a/b: 'a/b' cannot name a run's folder; expected letters, digits and . + - _",
        "r.yaml: run a/b: output_dir: belongs to the whole study; move it above runs",
        "r.yaml: run fr: expected options such as {train_langs: [de]}, found ['fr']"]


@pytest.mark.parametrize("recipe, message", [
    ({"runs": {}}, "runs: expected names with options"),
    ({"runs": ["de"]}, "runs: expected names with options"),
    ({"runs": None}, "runs: expected names with options"),
    ({"seeds": [1, 1]}, "seeds: expected no duplicates"),
    ({"seeds": [1, 2], "push_to_hub": "me/it"}, "push_to_hub: several runs"),
    ({"runs": {"a": {"mixed_precision": "no"}, "b": None}}, "mixed_precision: differs"),
    ({"runs": {"a": {"deterministic": True}, "b": None}}, "deterministic: differs"),
    ({"runs": {"a": {"device": "cpu"}, "b": None}}, "device: belongs to the whole study; move it above runs"),
])
def test_what_a_study_cannot_be(recipe, message):
    with pytest.raises(UserError, match=message):
        study.plan(recipe)


def test_the_command_line_wins_over_named_runs(tmp_path):
    (tmp_path / "r.yaml").write_text("epochs: 5\nruns:\n  a: {epochs: 4}\n  b:\n")
    recipe, path = read_arguments("", ["--config", str(tmp_path / "r.yaml"), "--epochs", "1", "--output_dir", "out"])
    assert [one.options.epochs for one in study.plan(recipe, path)] == [1, 1]
    assert recipe["output_dir"] == "out"


def test_cost_and_time_left():
    options = resolve({"epochs": 3, "batch_size": 10})
    assert study.cost(options, 600, 90, 300) == pytest.approx(1800 + (3 * 90 + 300) / 3)
    assert (study.cost(resolve({"epochs": 3, "batch_size": 10, "max_steps": 5}), 600, 90, 300)
            == pytest.approx(50 + 390 / 3))
    done = {"train": {"sentences_per_second": 10.0}}
    assert study.time_left([6000, 3000], [None]) == "time left: known after the first run"
    assert study.time_left([6000, 3000], [done, None]) == "about 15 min left"
    assert study.time_left([90000], [done]) == "about 2.5 h left"


def test_averages_over_seeds():
    one = {"f1": 0.8, "sentences": 10, "by_type": {"PER": {"f1": 1.0}}, "epochs": [1], "only": 1, "unseen": None}
    two = {"f1": 0.9, "sentences": 10, "by_type": {"PER": {"f1": 0.5}}, "epochs": [2], "unseen": None}
    assert seeds.average([one, two]) == {"f1": pytest.approx(0.85), "sentences": 10, "by_type": {"PER": {"f1": 0.75}},
                                         "epochs": None, "unseen": None}
    assert seeds.deviation([0.8, 0.9]) == pytest.approx(0.0707, abs=1e-4) and seeds.deviation([0.8]) is None


def test_survey_counts_and_finds_repeated_sentences(tmp_path):
    for split, text in (("train", "A\tB-PER\n\nB\tO\nC\tB-LOC\n\n"), ("dev", "A\tB-PER\n\n"),
                        ("test", "A\tO\n\nA\tB-PER\n\nD\tO\n\n")):
        (tmp_path / "de").mkdir(exist_ok=True)
        (tmp_path / "de" / split).write_text(text)
    runs = [resolve({"data_dir": str(tmp_path), "eval_langs": ["de"], "epochs": epochs}) for epochs in (1, 2)]
    (group,) = survey.load(runs)
    assert [tuple(row) for row in survey.rows(group.corpus, group.tags)] == [
        ("train", "de", 2, 3, {"LOC": 1, "PER": 1}, {}),
        ("validation", "de", 1, 1, {"LOC": 0, "PER": 1}, {"train": 1}),
        ("test", "de", 3, 3, {"LOC": 0, "PER": 1}, {"train": 2, "validation": 2})]


@pytest.fixture
def pretend(monkeypatch):
    """Runs that write the files of a run and note their options, without training; a name in `stops` is interrupted
    once, one in `fails` is a mistake of the user's."""
    noted = []

    def run(options, folder, name, claimed=False):
        noted.append((folder.name, options.resume))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(as_recipe(options)))
        if name in run.stops and not options.resume:
            raise Stopped("stopped after step 1", 130)
        if name in run.fails:
            raise UserError("loss nan")
        mean = min(options.seed / 10, 1)
        rates = ("sentences_per_second", "tokens_per_second")
        train = dict.fromkeys(("sentences", "seconds", *rates, "peak_memory_mib"), 5)
        results = {"options": as_recipe(options), "train": train, "versions": {},
                   "eval": {"test": {"de": {"f1": mean, "sentences": 1, "f1_ci95": [0, 1]}, "mean_f1": mean}}}
        (folder / "predictions").mkdir()
        (folder / "predictions" / "test.de.tsv").write_text("A\tB-PER\tB-PER\n\nB\tB-PER\tO\n\n")
        (folder / "results.json").write_text(json.dumps(results))
        return results

    run.stops, run.fails, run.noted = (), (), noted
    doubles.replace(monkeypatch, "run", run)
    return run


def recipe_in(folder: Path, text: str) -> list[str]:
    (folder / "r.yaml").write_text("eval_langs: [de]\n" + text)
    return ["--config", str(folder / "r.yaml"), "--output_dir", str(folder / "out")]


@pytest.mark.slow
def test_the_same_command_continues_where_the_study_stopped(tmp_path, pretend, capsys):
    argv = recipe_in(tmp_path, "runs:\n  a: {epochs: 1}\n  b: {epochs: 2}\n  c: {epochs: 3}\n")
    pretend.stops = ("b",)
    assert script.main(argv) == 130
    assert "run 2 of 3" in capsys.readouterr().err
    assert script.main(argv) == 0
    assert script.main(argv) == 0
    assert script.main(["--resume", *argv[2:]]) == 0  # the folder knows its recipe
    assert pretend.noted == [("a", False), ("b", False), ("b", True), ("c", False)]
    out = capsys.readouterr().out
    assert f"run 1 of 3: {tmp_path / 'out' / 'a'} is finished" in out and "min left" in out


@pytest.mark.slow
def test_a_shared_study_takes_its_longest_runs_first(tmp_path, pretend, capsys, monkeypatch):
    argv = recipe_in(tmp_path, "runs:\n" + "".join(f"  {'abcd'[n]}: {{epochs: {n + 1}}}\n" for n in range(4)))
    (tmp_path / "out" / "a").mkdir(parents=True)
    with ExitStack() as elsewhere:
        assert claim(tmp_path / "out" / "a", elsewhere)
        monkeypatch.setattr(study.time, "sleep", lambda seconds: elsewhere.close())
        assert script.main(argv) == 0
    assert [name for name, _ in pretend.noted] == ["b", "d", "c", "a"]
    assert capsys.readouterr().out.count("waiting for other processes: a") == 1


@pytest.mark.slow
def test_a_mistake_in_one_run_ends_the_study(tmp_path, pretend, capsys):
    pretend.fails = ("a",)
    assert script.main(recipe_in(tmp_path, "runs:\n  a:\n  b:\n")) == 2
    assert [name for name, _ in pretend.noted] == ["a"]
    assert f"train.py: run 1 of 2: {tmp_path / 'out' / 'a'}: loss nan" in capsys.readouterr().err


def test_nothing_starts_when_one_run_has_no_data(tmp_path, pretend, capsys):
    for text in ("runs:\n  a:\n  b: {num_train_sentences: 1000000}\n", "runs:\n  a:\n  b: {train_langs: [xx]}\n"):
        assert script.main(recipe_in(tmp_path, text)) == 2
    assert pretend.noted == [] and not (tmp_path / "out").exists()
    assert "run b: num_train_sentences: asked for 1000000" in capsys.readouterr().err


@pytest.mark.parametrize("options, message", [
    ("model: ./gone", "./gone: no such folder"),
    ("max_length: 5000", "max_length: expected at most 512 for e5-small, found 5000"),
    ("freeze: 13", "freeze: expected at most 12, the layers of e5-small, found 13"),
    ("exclude: gone.tsv", "exclude: gone.tsv"),
    ("push_to_hub: name", "push_to_hub: 'name' is not a repository"),
    ("class_weights: {MISC: 2}", "class_weights: 'MISC' is not a type of the tag set; expected O, PER, ORG, LOC"),
    ("train_langs: [it]", "'B-LOC'")])
def test_nothing_starts_when_one_run_cannot_begin(tmp_path, pretend, capsys, options, message):
    """The last has no LOC to train on, which only the run before it has."""
    for lang, kinds in (("de", "PER ORG LOC"), ("it", "PER ORG")):
        for split in ("train", "validation", "test"):
            write_data(tmp_path / "data", lang, split, [[("x", f"B-{kind}")] for kind in kinds.split()])
    assert script.main(recipe_in(tmp_path, f"data_dir: {tmp_path / 'data'}\ntrain_langs: [de]\n"
                                           f"runs:\n  a:\n  b: {{{options}}}\n")) == 2
    error = capsys.readouterr().err
    assert error.startswith("train.py: run b: ") and message in error
    assert pretend.noted == [] and not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_finished_run_with_other_options_is_not_skipped(tmp_path, pretend, capsys):
    assert script.main(recipe_in(tmp_path, "runs:\n  a: {epochs: 1}\n")) == 0
    assert script.main(recipe_in(tmp_path, "log_every: 5\nruns:\n  a: {epochs: 1}\n  b:\n")) == 0
    assert script.main(recipe_in(tmp_path, "runs:\n  a: {epochs: 2}\n")) == 2
    assert "is finished, but with epochs 1, not 2" in capsys.readouterr().err


def test_a_study_does_not_go_into_the_folder_of_a_run(tmp_path, pretend, capsys):
    argv = recipe_in(tmp_path, "")
    assert script.main(argv) == 0
    assert script.main([*argv, "--seeds", "1", "2"]) == 2
    assert "holds a single run" in capsys.readouterr().err


@pytest.mark.slow
def test_the_default_folder_is_the_same_every_time(tmp_path, pretend, monkeypatch):
    doubles.runs_folder(monkeypatch, tmp_path / "runs")
    for _ in range(2):
        assert script.main(recipe_in(tmp_path, "runs:\n  a:\n")[:2]) == 0
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["r"] and len(pretend.noted) == 1


@pytest.mark.slow
def test_seeds_are_summed_up(tmp_path, pretend):
    assert script.main(recipe_in(tmp_path, "seeds: [1, 2, 6]\n")) == 0
    whole = json.loads((tmp_path / "out" / "results.json").read_text())
    de = whole["eval"]["test"]["de"]
    assert whole["seeds"] == whole["options"]["seeds"] == [1, 2, 6]
    assert (de["f1"] == pytest.approx(0.3) and de["f1_by_seed"] == [0.1, 0.2, 0.6]
            and de["f1_sd"] == pytest.approx(0.2646, abs=1e-4))
    assert de["f1_ci95"] == [0.0, 1.0] and de["sentences"] == 1
    assert whole["eval"]["test"]["mean_f1_sd"] == pytest.approx(0.2646, abs=1e-4)
    assert plan.planned_in(tmp_path / "out").keys() == {"seed-1", "seed-2", "seed-6"}


@pytest.mark.slow
def test_a_run_is_not_replaced_by_its_seeds(tmp_path, pretend, capsys):
    """A study that had one seed and now has two: the finished run stays as it is."""
    assert script.main(recipe_in(tmp_path, "runs: {a: {epochs: 1}}")) == 0
    before = (tmp_path / "out" / "a" / "results.json").read_text()
    assert script.main(recipe_in(tmp_path, "runs: {a: {epochs: 1, seeds: [1, 2]}}")) == 2
    assert capsys.readouterr().err.endswith("out/a: holds a single run, but has several seeds now; remove it or name "
                                            "another output_dir\n")
    assert (tmp_path / "out" / "a" / "results.json").read_text() == before


def test_a_mistake_leaves_no_empty_folder(tmp_path, monkeypatch, capsys):
    def refuse(*_, **__):
        raise UserError("max_length: too much")

    doubles.replace(monkeypatch, "run", refuse)
    assert script.main(recipe_in(tmp_path, "runs: {a: {epochs: 1}}")) == 2
    assert "a: max_length: too much" in capsys.readouterr().err and not (tmp_path / "out" / "a").exists()


def test_results_that_cannot_be_read_end_in_one_sentence(tmp_path, pretend, capsys):
    argv = recipe_in(tmp_path, "seeds: [1, 2]\n")
    assert script.main(argv) == 0
    (tmp_path / "out" / "results.json").unlink()
    (tmp_path / "out" / "results.json").mkdir()
    assert script.main(argv) == 2 and capsys.readouterr().err.startswith("train.py: [Errno 21] Is a directory: ")
    assert not (tmp_path / "out" / ".results.json.tmp").exists()
    path = tmp_path / "out" / "seed-2" / "results.json"
    results = json.loads(path.read_text())
    path.write_text(json.dumps({**results, "train": None}))
    assert script.main(argv) == 2 and "seed-2/results.json: lacks training or test results" in capsys.readouterr().err
    path.write_text(json.dumps({**results, "train": results["train"] | {"sentences_per_second": 0}}))
    assert study.time_left([1.0], [json.loads(path.read_text())]) == "time left: known after the first run"


@pytest.mark.slow
def test_a_run_does_not_go_into_the_folder_of_a_study(tmp_path, pretend):
    script.main(recipe_in(tmp_path, "runs: {a: {seed: 1}}\n"))
    with pytest.raises(UserError, match="out: holds a study, not a run; name another output_dir"):
        folder_module.check_folder(tmp_path / "out", resolve({"resume": True}))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A folder with a random encoder of two layers and the tokenizer of the built-in one."""
    source = builtin.encoder_folder()
    folder = tmp_path_factory.mktemp("encoder")
    for path in source.iterdir():
        if path.name.startswith("tokenizer"):
            shutil.copy(path, folder)
    size = json.loads((source / "config.json").read_text())["vocab_size"]
    torch.manual_seed(0)
    XLMRobertaModel(XLMRobertaConfig(vocab_size=size, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                                     pad_token_id=1, intermediate_size=16,
                                     max_position_embeddings=514)).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_two_seeds_trained_for_real_differ_and_are_reported(tmp_path, encoder, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text(f"model: {encoder}\neval_langs: [de]\nnum_train_sentences: 40\nepochs: 2\nbatch_size: 8\n"
                              "learning_rate: 0.05\nseeds: [1, 2]\n")
    assert script.main(["--config", "r.yaml", "--output_dir", "out"]) == 0
    whole, one, two = (json.loads(Path("out", name, "results.json").read_text()) for name in (".", "seed-1", "seed-2"))
    losses = [run["eval"]["test"]["de"]["loss"] for run in (one, two)]
    assert losses[0] != losses[1] and whole["eval"]["test"]["de"]["loss"] == pytest.approx(sum(losses) / 2)
    low, high = whole["eval"]["test"]["de"]["f1_ci95"]
    assert low <= whole["eval"]["test"]["de"]["f1"] <= high
    assert one["eval"]["test"]["de"]["calibration"] and one["options"]["seed"] == 1
    assert evaluate.main(["compare", "out/seed-1", "out/seed-2"]) == 0 and "p randomisation" in capsys.readouterr().out
    assert evaluate.main(["report", "out"]) == 0 and "±" in Path("out", "REPORT.md").read_text()
