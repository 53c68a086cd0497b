"""Recipes: YAML without its traps, and what is wrong with a file in one sentence."""

from pathlib import Path

import pytest

from ner.options import Options, UserError, resolve
from ner.recipe import read_recipe


def from_yaml(folder: Path, text: str) -> Options:
    (folder / "r.yaml").write_text(text, encoding="utf-8")
    return resolve(read_recipe(folder / "r.yaml"))


def complaint(function, *arguments) -> str:
    with pytest.raises(UserError) as error:
        function(*arguments)
    return str(error.value)


def test_yaml_traps(tmp_path):
    options = from_yaml(tmp_path, """
train_langs: [no, on, yes, y, 010]
eval_langs: [no]
select: no
learning_rate: 5e-5
mixed_precision: no
revision: 0123456
model_revision: 1.10
output_dir: 2024-01-01
data_dir: 1_000
exclude: 1:30
push_to_hub: 12e3
fractions: {no: 1, de: 5e-1}
dropout: null
max_steps: 1e3
epochs: 3.0
seed: 1234567890
patience: ~
tags:
resume: true
dataset: =
""")
    assert options.train_langs == ["no", "on", "yes", "y", "010"]
    assert (options.select, options.mixed_precision) == ("no", "no")
    assert options.learning_rate == 5e-5
    assert (options.revision, options.model_revision, options.output_dir) == ("0123456", "1.10", "2024-01-01")
    assert (options.data_dir, options.exclude, options.push_to_hub, options.dataset) == ("1_000", "1:30", "12e3", "=")
    assert options.fractions == {"no": 1.0, "de": 0.5}
    assert (options.dropout, options.patience, options.tags, options.resume) == (None, None, None, True)
    assert (options.max_steps, options.epochs, options.seed) == (1000, 3, 1234567890)
    assert all(isinstance(value, int) for value in (options.max_steps, options.epochs))


@pytest.mark.parametrize(("text", "where", "problem"), [
    ("epochs: 3\nseed: 1\nepochs: 4\n", ":3", "duplicate key 'epochs'"),
    ("fractions: {de: 1, de: 1}\n", ":1", "duplicate key 'de'"),
    ("epochs: [3\n", ":2", "expected ',' or ']'"), ("a: b: c\n", ":1", "mapping values are not allowed"),
    ("train_langs: &a [*a]\n", ":1", "an alias"), ("a: &a {x: 1}\nb:\n  <<: *a\n", ":3", "an alias"),
    ("--- {a: 1}\n--- {b: 1}\n", ":2", "but found another document"),
    ("epochs: !!python/object:os.system x\n", ":1", "could not determine"),
    ("epochs: !!bool maybe\n", "", "maybe"), ("epochs: !!int x\n", "", "invalid literal"),
    ("epochs: !!timestamp x\n", "", "NoneType"),
    ("? [a]\n: 3\n", ":1", "unhashable key"), ("\0", "", "special characters are not allowed"),
    ("[" * 2000, "", "recursion"),
    ("epochs: " + "9" * 5000, "", "Exceeds the limit"), ("a: " + "x" * 70_000, "", "longer than 65,536 characters"),
    ("\t- a", ":1", "cannot start any token"), (b"\xff\xfea\0", "", "codec can't decode"),
    ("epochs: *a", ":1", "an alias"),
])
def test_invalid_recipes_end_in_one_sentence(tmp_path, text, where, problem):
    path = tmp_path / "r.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    message = complaint(read_recipe, path)
    assert message.startswith(f"{path}{where}: not a YAML recipe (") and problem in message and "\n" not in message


def test_aliases_that_would_fill_the_memory(tmp_path):
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]" for before, name in zip("abcdefgh", "bcdefghi")]
    (tmp_path / "r.yaml").write_text("\n".join([*lines, "train_langs: *i"]))
    assert f"{tmp_path / 'r.yaml'}:2: not a YAML recipe (an alias" in complaint(read_recipe, tmp_path / "r.yaml")


@pytest.mark.parametrize("text", ["- a\n", "epochs\n", "3\n", "[]\n"])
def test_a_recipe_is_a_mapping(tmp_path, text):
    assert "expected lines like 'epochs: 3', found" in complaint(from_yaml, tmp_path, text)


def test_keys_that_are_not_names(tmp_path):
    assert complaint(from_yaml, tmp_path, "~: 3\n3: 4\nfalse: 5\n").split("\n") == [
        "unknown option 'null'; see --help", "unknown option '3'; see --help", "unknown option 'False'; see --help"]


def test_missing_recipes(tmp_path):
    assert "cannot read the recipe (No such file" in complaint(read_recipe, tmp_path / "none.yaml")
    assert "cannot read the recipe (Is a directory" in complaint(read_recipe, tmp_path)
    assert "embedded null byte" in complaint(read_recipe, "a\0b")


def test_empty_recipes_and_a_byte_order_mark(tmp_path):
    assert from_yaml(tmp_path, "") == from_yaml(tmp_path, "# nothing\n") == Options()
    assert from_yaml(tmp_path, "\ufeffepochs: 4\n").epochs == 4
