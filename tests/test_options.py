"""Options: every problem at once, the command line over the recipe, and the way back from config.yaml."""

import dataclasses
import subprocess
import sys

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ner.experiment.cli import read_arguments
from ner.options import FIELDS, NOT_IN_CONFIG, Options, UserError, as_recipe, resolve
from ner.recipe import read_recipe
from tests.helpers.paths import ROOT


def from_words(*words: str) -> Options:
    return resolve(read_arguments("", list(words))[0])


def complaint(function, *arguments) -> str:
    with pytest.raises(UserError) as error:
        function(*arguments)
    return str(error.value)


def test_defaults():
    assert resolve({}) == Options()
    resolve({}).train_langs.append("xx")
    assert Options().train_langs == ["de"]


def test_all_problems_are_listed_at_once_in_the_order_of_the_recipe():
    recipe = {"epochz": 3, "batch_size": "many", "learning_rate": "5e-5", "dropout": 1.5, "atention": "x", "seed": -1,
              "attention": "paded", "xyzzy": None, "epochs": None, "public": True}
    assert complaint(resolve, recipe, "a.yaml").split("\n") == [
        "a.yaml: unknown option 'epochz'; did you mean 'epochs'?",
        "a.yaml: batch_size: expected a whole number, found 'many'",
        "a.yaml: unknown option 'atention'; did you mean 'attention'?",
        "a.yaml: unknown option 'xyzzy'; see --help",
        "a.yaml: epochs: expected a whole number, found null",
        "a.yaml: attention: expected one of packed, padded, found 'paded'; did you mean 'padded'?",
        "a.yaml: dropout: expected at least 0 and below 1, found 1.5",
        "a.yaml: seed: expected 0 to 4294967295, found -1",
        "a.yaml: public: needs push_to_hub user/name",
    ]


@pytest.mark.parametrize(("name", "value", "expected"), [
    ("epochs", 2.5, "a whole number"), ("epochs", True, "a whole number"), ("epochs", [3], "a whole number"),
    ("epochs", "nan", "a whole number"), ("epochs", "inf", "a whole number"), ("epochs", 10**400, "a whole number"),
    ("learning_rate", "fast", "a number"), ("learning_rate", float("nan"), "a number"),
    ("learning_rate", "-inf", "a number"),
    ("learning_rate", {}, "a number"), ("resume", "yes", "true or false"), ("resume", 1, "true or false"),
    ("resume", [True], "true or false"), ("dataset", ["a", "b"], "text"), ("dataset", True, "text"),
    ("dataset", "", "text"), ("data_dir", "a\0b", "text"), ("model", "a\nb", "text"), ("output_dir", "\udcff", "text"),
    ("train_langs", ["de", "\ud800"], "a list of words"), ("fractions", {"\0": 1}, "a mapping such as {de: 0.5}"),
    ("dataset", None, "text"), ("data_dir", {"a": 1}, "text"), ("train_langs", [["de"]], "a list of words"),
    ("train_langs", [None], "a list of words"), ("train_langs", {"de": 1}, "a list of words"),
    ("train_langs", None, "a list of words"),
    ("seeds", ["a"], "a list of whole numbers"), ("seeds", [1.5], "a list of whole numbers"),
    ("fractions", ["de"], "a mapping such as {de: 0.5}"), ("fractions", "de", "a mapping such as {de: 0.5}"),
    ("fractions", {"de": "half"}, "a mapping such as {de: 0.5}"),
    ("fractions", {"de": None}, "a mapping such as {de: 0.5}"),
    ("languages", "German", "a mapping such as {de: German}"),
    ("languages", {"de": ["x"]}, "a mapping such as {de: German}"),
    ("languages", {"de": ""}, "a mapping such as {de: German}"), ("split_seed", "x", "a whole number"),
])
def test_wrong_types(name, value, expected):
    found = "null" if value is None else repr(value)[:80]
    assert complaint(resolve, {name: value}) == f"{name}: expected {expected}, found {found}"


@pytest.mark.parametrize("name, value", [
    ("epochs", 0), ("batch_size", -1), ("log_every", 0), ("max_steps", 0), ("micro_batch_size", 0),
    ("num_train_sentences", 0),
    ("max_length", 15), ("stride", 257), ("stride", -1), ("learning_rate", 0), ("max_grad_norm", 0),
    ("weight_decay", -0.1),
    ("warmup_ratio", 1), ("warmup_ratio", -0.1), ("dropout", 1), ("seed", 2**32), ("sample_seed", -1),
    ("seeds", [1, -1]),
    ("seeds", []), ("train_langs", []), ("eval_langs", ["de", "de"]), ("validation_langs", []), ("tags", []),
    ("seeds", [1, 1]),
    ("languages", {"de": "x", "fr": "x"}), ("split_seed", -1),
    ("fractions", {"de": 0.0}), ("fractions", {"de": 1.1}), ("mixed_precision", "fp8"),
    ("device", "gpu"), ("attention", "flash"),
    ("select", "es"),
    ("checkpoint_every", "0"), ("checkpoint_every", "often"), ("checkpoint_every", "-3"),
    ("checkpoint_every", "9" * 70), ("pseudo_langs", []), ("pseudo_langs", ["fr", "fr"]),
    ("pseudo_langs", ["fr", "de"]), ("pseudo_confidence", 1), ("pseudo_confidence", -0.1), ("pseudo_share", 0),
    ("pseudo_share", 1.1),
])
def test_values_out_of_range(name, value):
    if name.startswith("pseudo_"):
        needed = {"teacher": "x"} | ({} if name == "pseudo_langs" else {"pseudo_langs": ["fr"]})
        message, *more = complaint(resolve, {name: value, **needed}).split("\n")
        found = value if isinstance(value, list) else float(value)
        assert message.startswith(f"{name}: expected ") and message.endswith(f", found {found!r}")
        assert more == ([] if value else ["teacher: needs pseudo_langs, the languages that it tags"] * (value == []))
        return
    data = {"dataset": "user/set", "eval_langs": ["de"]} if name in ("languages", "split_seed") else {}
    message = complaint(resolve, {name: value, **data})
    assert message.startswith(f"{name}: expected ") and "\n" not in message
    assert f", found {value!r}" in message


def test_combinations():
    assert complaint(resolve, {"seeds": [1, 2], "seed": 3}) == "seed and seeds exclude each other; keep one"
    assert complaint(resolve, {"patience": 2}).startswith("patience: needs a score to improve; set select")
    assert complaint(resolve, {"seeds": [1, 2], "resume": True}).startswith("resume: with seeds")
    found = complaint(resolve, {"max_length": 16, "stride": 9})
    assert found == "stride: expected 0 to half of max_length (8), found 9"
    assert "found 'fr'" in complaint(resolve, {"select": "fr", "eval_langs": ["fr"], "validation_langs": ["de"]})
    assert complaint(resolve, {"teacher": "x"}) == "teacher: needs pseudo_langs, the languages that it tags"
    assert complaint(resolve, {"pseudo_langs": ["fr"]}) == "pseudo_langs: needs teacher, the model that tags them"
    assert complaint(resolve, {"pseudo_share": 0.5, "pseudo_confidence": 0.5}).split("\n") == [
        "pseudo_confidence: needs teacher and pseudo_langs", "pseudo_share: needs teacher and pseudo_langs"]
    assert complaint(resolve, {"teacher": "x", "pseudo_langs": ["de"]}) == (
        "pseudo_langs: expected different languages than train_langs, found ['de']")
    assert resolve({"teacher": "x", "pseudo_langs": ["fr"], "pseudo_share": 0.5}).pseudo_share == 0.5
    assert resolve({"patience": 2, "select": "fr"}).patience == 2
    assert resolve({"seeds": [1, 2], "resume": True, "output_dir": "a"}).seeds == [1, 2]
    assert resolve({"push_to_hub": "a/b", "public": True}).public
    assert resolve({"max_length": 16, "stride": 8}).stride == 8


def test_the_command_line_overrides_the_recipe(tmp_path):
    (tmp_path / "r.yaml").write_text("epochs: 2\nbatch_size: 8\nresume: true\n")
    recipe, path = read_arguments("", ["--epochs", "5", "--config", str(tmp_path / "r.yaml"), "--resume", "false"])
    options = resolve(recipe, path)
    assert path == str(tmp_path / "r.yaml")
    assert (options.epochs, options.batch_size, options.resume) == (5, 8, False)
    assert recipe["resume"] is False


def test_the_command_line_overrides_named_runs(tmp_path):
    (tmp_path / "r.yaml").write_text("epochs: 2\nruns:\n  no: {epochs: 3, seed: 1}\n  b:\n")
    recipe, _ = read_arguments("", ["--config", str(tmp_path / "r.yaml"), "--epochs", "5", "--output_dir", "x"])
    assert recipe == {"epochs": 5, "runs": {"no": {"epochs": 5, "seed": 1}, "b": None}, "output_dir": "x"}


def test_command_line_values():
    assert from_words("--train_langs", "de", "no").train_langs == ["de", "no"]
    assert from_words("--train_langs", "[de, no]").train_langs == ["de", "no"]
    assert from_words("--train_langs=[de, no]").train_langs == ["de", "no"]
    assert from_words("--train_langs", "no").train_langs == ["no"]
    assert from_words("--train_langs", "[de,", "no]", "--fractions", "{de:", "0.5}").train_langs == ["de", "no"]
    assert from_words("--fractions", "de=0.629", "no=1").fractions == {"de": 0.629, "no": 1.0}
    named = from_words("--dataset", "a/b", "--languages", "en=English (EN)", "no=1.10")
    assert named.languages == {"en": "English (EN)", "no": "1.10"}
    assert from_words("--fractions", "{de: 0.629, no: 1}").fractions == {"de": 0.629, "no": 1.0}
    assert from_words("--seeds", "1", "2").seeds == from_words("--seeds", "[1, 2]").seeds == [1, 2]
    assert from_words("--seeds", "null").seeds is None
    assert from_words("--tags", "O", "B-PER", "I-PER").tags == ["O", "B-PER", "I-PER"]
    assert from_words("--output_dir", "007", "--revision", "0123", "--data_dir", "[a").output_dir == "007"
    assert from_words("--checkpoint_every", "20").checkpoint_every == "20"
    assert from_words("--checkpoint_every", "null").checkpoint_every is None
    assert from_words("--learning_rate", "2e-5").learning_rate == 2e-5
    assert from_words("--resume", "--output_dir", "x").resume is True
    assert from_words("--active_vocabulary", "false").active_vocabulary is False
    assert from_words("--dropout", "~").dropout is None


def test_problems_of_the_command_line():
    assert complaint(from_words, "--epochz", "3", "--epochs", "x", "--seed", "--max-length", "9").split("\n") == [
        "epochs: expected a whole number, found 'x'",
        "seed: expected a whole number, found []",
        "unknown option 'epochz'; did you mean 'epochs'?",
        "unknown option 'max-length'; did you mean 'max_length'?",
    ]
    assert complaint(from_words, "german").startswith("unexpected 'german'; options start with --")
    assert complaint(from_words, "a.yaml").startswith("unexpected 'a.yaml'; a recipe comes after --config")
    assert complaint(from_words, "-e", "3").startswith("unexpected '-e'")
    assert complaint(from_words, "--epoch", "3") == "unknown option 'epoch'; did you mean 'epochs'?"
    assert complaint(from_words, "--config").startswith("argument --config: expected one argument")
    assert complaint(from_words, "--fractions", "de").startswith("fractions: expected a mapping such as {de: 0.5}")
    assert complaint(from_words, "--fractions", "{de: 1, de: 1}").startswith("fractions: expected a mapping")
    assert complaint(from_words, "--output_dir", "a", "b") == "output_dir: expected text, found ['a', 'b']"
    assert complaint(from_words, "--fractions", "{de: *a}").startswith("fractions: expected a mapping")
    assert from_words("--train_langs", "[&a [*a]]").train_langs == ["[&a [*a]]"]  # no YAML, so a word
    assert complaint(from_words, "--checkpoint_every", "9" * 5000).startswith("checkpoint_every: expected a number of")
    assert complaint(from_words, "--epochs", '!!int ""').startswith("epochs: expected a whole number")
    assert complaint(from_words, "--config", "a\nb.yaml") == (
        r"'a\nb.yaml' contains a control character or is not UTF-8; expected plain text")
    assert complaint(from_words, "--seeds", "[" * 2000).startswith("seeds: expected a list of whole numbers, found '[[")


VALUES = {
    str: st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1)
    | st.sampled_from(["no", "null", "~", "3", "1.0", "5e-5", "# x", ": y"]),
    int: st.integers(1, 2**31), float: st.floats(1e-9, 0.99),
}
LISTS = {"train_langs": str, "eval_langs": str, "validation_langs": str, "tags": str, "seeds": int}
FREE = {name: (st.lists(VALUES[kind], min_size=1, max_size=4, unique=True)) for name, kind in LISTS.items()} | {
    **dict.fromkeys(("dataset", "data_dir", "revision", "exclude", "model", "push_to_hub"), VALUES[str]),
    **dict.fromkeys(("sample_seed", "num_train_sentences", "epochs", "max_steps", "batch_size"), VALUES[int]),
    **dict.fromkeys(("dropout", "learning_rate", "weight_decay", "warmup_ratio", "max_grad_norm"), VALUES[float]),
    "max_length": st.integers(16, 512), "fractions": st.dictionaries(VALUES[str], VALUES[float], max_size=3),
    "languages": st.dictionaries(VALUES[str], VALUES[str], max_size=1),
    "resume": st.booleans(), "active_vocabulary": st.booleans(), "output_dir": st.none() | VALUES[str],
    "checkpoint_every": st.sampled_from([None, "none", "epoch", "20"]),
    "attention": st.sampled_from(["packed", "padded"])}


@settings(deadline=None, max_examples=100)
@given(values=st.fixed_dictionaries({}, optional=FREE))
def test_config_yaml_leads_back_to_the_same_options(tmp_path_factory, values):
    options = dataclasses.replace(Options(**values), resume=False, output_dir=None)
    if options.languages:  # for the Hub alone
        options = dataclasses.replace(options, data_dir=None, dataset="user/set")
    path = tmp_path_factory.getbasetemp() / "config.yaml"
    path.write_text(yaml.safe_dump(as_recipe(options), sort_keys=False, allow_unicode=True), encoding="utf-8")
    assert resolve(read_recipe(path)) == options
    assert resolve(as_recipe(options)) == options


def test_as_recipe_leaves_out_the_run_folder():
    assert set(as_recipe(Options())) == set(FIELDS) - set(NOT_IN_CONFIG)
    assert NOT_IN_CONFIG == ("output_dir", "device", "resume")


def help_text() -> str:
    """And nothing that takes long is imported for it."""
    program = """
import runpy, sys
sys.argv = ["train.py", "--help"]
try:
    runpy.run_path("train.py", run_name="__main__")
finally:
    large = ("torch", "transformers", "datasets", "numpy", "accelerate")
    print([name for name in large if name in sys.modules], file=sys.stderr)
"""
    shown = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (shown.returncode, shown.stderr) == (0, "[]\n")
    return shown.stdout


@pytest.mark.slow
def test_help_lists_every_option_with_default_and_without_torch():
    text = help_text()
    assert text.startswith("usage: train.py [--config FILE] [--OPTION VALUE ...]\n")
    flat = " ".join(text.split())
    parts = dict(part.split(" ", 1) for part in flat.split(" --")[1:])
    for name, f in FIELDS.items():
        default = getattr(Options(), name)
        shown = " ".join(map(str, default)) if isinstance(default, list) else default
        shown = "none" if default in (None, {}) else str(shown).lower() if isinstance(default, bool) else shown
        assert f.metadata["help"] in parts[name]
        derived = "[default: " in f.metadata["help"] and default in (None, {})
        assert parts[name].count("[default: ") == 1
        assert f"[default: {shown}]" in parts[name] or derived, parts[name]
    assert "--epochs N " in text and "--train_langs TEXT ... " in text and "--fractions NAME=X ... " in text
    assert "[N ...]" not in text


def test_a_hub_data_set_is_scored_in_the_languages_that_it_is_trained_on():
    assert resolve({"dataset": "user/set", "train_langs": ["en"]}).eval_langs == ["en"]
    assert resolve({"dataset": "user/set", "train_langs": ["en"], "eval_langs": ["de"]}).eval_langs == ["de"]
    for recipe in ({"dataset": "panx"}, {"dataset": "swiss"}, {"dataset": "user/set", "data_dir": "x"}):
        assert resolve({**recipe, "train_langs": ["de"]}).eval_langs == ["de", "fr", "it", "en"]


@pytest.mark.parametrize("value", [{"split_seed": 1}, {"languages": {"en": "English"}}])
def test_options_of_the_hub_are_refused_for_other_data(value):
    (name,) = value
    for data in ({"data_dir": "x"}, {"dataset": "panx"}, {}):
        with pytest.raises(UserError, match=f"{name}: only for a Hub data set; remove it"):
            resolve({**value, **data})
    resolve({**value, "dataset": "user/set"})
