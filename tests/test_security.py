"""Untrusted input: no pickle is read and no code run, data cannot name machines or paths, the Hub is pinned."""

import ast
import collections
import json
import pickle
import pickletools
import re
import shutil
from pathlib import Path

import pytest

import evaluate
from ner.data import corpora
from ner.files import checksum
from ner.options import Options, UserError
from ner.training import checkpoint
from tests.helpers import doubles
from tests.helpers.bombs import Malicious
from tests.helpers.checkpoints import FILES, IDENTITY, make, write
from tests.helpers.corpora import write_files
from tests.helpers.folders import lexicon_folder
from tests.helpers.known import make_run, write_data
from tests.helpers.paths import ROOT

SOURCES = sorted([ROOT / "train.py", ROOT / "evaluate.py", *(ROOT / "ner").rglob("*.py")])


@pytest.mark.parametrize("name", ["README.md", ".huggingface.yaml"])
@pytest.mark.parametrize("url", ["https://example.org/x.jsonl", "hf://datasets/a/b/x.parquet", "zip://x::s3://a/b.zip"])
def test_a_folder_whose_card_names_other_machines_is_refused(tmp_path, name, url):
    card = f"configs:\n- config_name: de\n  data_files:\n  - split: test\n    path: {url}\n"
    (tmp_path / name).write_text(f"---\n{card}---\n" if name == "README.md" else card)
    with pytest.raises(UserError, match="its card names files on other machines; expected files in this folder"):
        corpora.read(Options(dataset=str(tmp_path)), "de", "test")


@pytest.mark.parametrize("command", ["score", "errors"])
def test_data_and_models_of_the_hub_can_be_pinned(tmp_path, monkeypatch, command):
    """Also where a run is scored; `train.py` is tested with corpora and model folders."""
    folder, asked = lexicon_folder(tmp_path / "model"), []
    doubles.replace(monkeypatch, "snapshot_download",
                    lambda name, revision, allow_patterns: asked.append((name, revision)) or str(folder))
    doubles.replace(monkeypatch, "config_names",
                    lambda name, revision: asked.append((name, revision)) or ["de", "fr"])
    doubles.replace(monkeypatch, "split_names", lambda *args, **named: ["train", "validation", "test"])

    def load_dataset(name, config, revision, **named):
        asked.append((name, revision))
        raise OSError("enough")

    doubles.replace(monkeypatch, "load_dataset", load_dataset)
    output = ("--output_dir", str(tmp_path / "o"))
    pinned = [command, "a/model", "--model_revision", "v1", "--dataset", "a/data", "--revision", "v2", "--langs", "de"]
    assert evaluate.main([*pinned, *output]) == 2
    assert asked == [("a/model", "v1"), ("a/data", "v2"), ("a/data", "v2")]
    asked.clear()
    run = make_run(tmp_path / "run", tmp_path, dataset="a/data", revision="v3")
    (run / "config.yaml").write_text(re.sub("data_dir: .*", "data_dir: null", (run / "config.yaml").read_text()))
    for more, revision in (((), "v3"), (("--revision", "v4"), "v4"), (("--dataset", "a/data"), None)):
        assert evaluate.main([command, str(run), "--langs", "de", *more, *output]) == 2
        assert {found for _, found in asked} == {revision}
        asked.clear()


# ---- no pickle, no code


RISKY = {  # modules and functions, with all that is inside them
    "pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "pandas.read_pickle",
    "torch.load", "torch.save", "torch.serialization", "torch.hub", "torch.jit", "torch.package", "torch.export",
    "numpy.load", "numpy.lib.npyio", "numpy.lib.format", "yaml.loader", "yaml.cyaml",
    *(f"yaml.{load}{many}" for load in ("unsafe_load", "full_load") for many in ("", "_all")),
    *(f"yaml.{c}{kind}Loader" for c in ("", "C") for kind in ("", "Full", "Unsafe")),
    *(f"builtins.{name}" for name in ("eval", "exec", "compile", "__import__")), "importlib.import_module", "runpy",
    "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell"}
SAFE = {"allow_pickle": "False", "weights_only": "True", "trust_remote_code": "False", "shell": "False"}  # arguments


def names(node: ast.AST | None, aliases: dict[str, set[str]]) -> set[str]:
    """The whole dotted names that an expression may stand for; a name that no line binds is the interpreter's."""
    match node:
        case ast.Name(id=name, ctx=ast.Load()):  # not one that is bound here, such as a field
            return aliases.get(name, {f"builtins.{name}"})
        case ast.Attribute(value=inner, attr=name):
            return {f"{of}.{name}" for of in names(inner, aliases)}
        case ast.Call(func=called, args=[inner, ast.Constant(value=name), *_]):
            return {f"{of}.{name}" for of in names(inner, aliases) if "builtins.getattr" in names(called, aliases)}
    return set()


def risky(tree: ast.AST) -> set[str]:
    """What of RISKY a source imports or mentions under any name, `import *`, and arguments that are not SAFE."""
    found, aliases = set(), collections.defaultdict(set)
    for node in [*ast.walk(tree)] * 2:  # again for what is assigned further out than it is imported
        match node:
            case ast.Import(names=imported):
                found |= {alias.name for alias in imported}
                for alias in imported:
                    first = alias.name.split(".")[0]  # which is what `import os.path` binds
                    aliases[alias.asname or first].add(alias.name if alias.asname else first)
            case ast.ImportFrom(names=imported):
                for alias in imported:
                    whole = f"{'.' * node.level}{node.module or ''}.{alias.name}"
                    found.add(whole)
                    aliases[alias.asname or alias.name].add(whole)
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    if isinstance(target, ast.Name) and (whole := names(value, aliases)):
                        aliases[target.id] |= whole
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg=name, value=value):
                passed = {name: value}
            case ast.Dict(keys=keys, values=values):
                passed = {key.value: value for key, value in zip(keys, values) if isinstance(key, ast.Constant)}
            case _:
                passed = {}
        found |= {f"{name}={ast.unparse(value)}" for name, value in passed.items()
                  if name in SAFE and ast.unparse(value) != SAFE[name]} | names(node, aliases)
    return {name for name in found
            if name.endswith(".*") or "=" in name or any(f"{name}.".startswith(f"{bad}.") for bad in RISKY)}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_source_reads_pickles_or_runs_code(path):
    assert not risky(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("text, found", [
    ("import pickle as p", "pickle"), ("from pickle import loads", "pickle.loads"),
    ("import os.path, cloudpickle as c", "cloudpickle"), ("def f():\n    import dill.session", "dill.session"),
    ("import torch\ntorch.load(x, weights_only=True)", "torch.load"), ("from torch import load", "torch.load"),
    ("import torch as t\nt.load(x)", "torch.load"), ("import torch\nt = torch\nt.load(x)", "torch.load"),
    ("t = torch\nt.load(x)\nif x:\n    import torch", "torch.load"),
    ("import torch\ntorch.serialization.load(x)", "torch.serialization.load"),
    ("from torch.serialization import load as f", "torch.serialization.load"),
    ("import torch\ngetattr(torch, 'load')(x)", "torch.load"), ("from torch import *", "torch.*"),
    ("import numpy as n\nn.load(p)", "numpy.load"), ("from numpy import load", "numpy.load"),
    ("import numpy as n\nn.load(p, allow_pickle=True)", "allow_pickle=True"),
    ("import yaml\nyaml.load(x, yaml.UnsafeLoader)", "yaml.UnsafeLoader"),
    ("import yaml\nclass L(yaml.Loader): pass", "yaml.Loader"), ("import yaml\nyaml.full_load(x)", "yaml.full_load"),
    ("from yaml import unsafe_load as f", "yaml.unsafe_load"),
    ("import importlib as i\ni.import_module('pickle')", "importlib.import_module"),
    ("__import__('pickle')", "builtins.__import__"), ("eval('1')", "builtins.eval"),
    ("e = eval\ne('1')", "builtins.eval"), ("import builtins\nbuiltins.exec('1')", "builtins.exec"),
    ("map(compile, x)", "builtins.compile"), ("import subprocess\nsubprocess.run(x, shell=True)", "shell=True"),
    ("f(shell=yes)", "shell=yes"), ("import os\nos.popen(x)", "os.popen"), ("from os import system", "os.system"),
    ("f(weights_only=False)", "weights_only=False"), ("f(trust_remote_code=True)", "trust_remote_code=True"),
    ("f(**{'trust_remote_code': True})", "trust_remote_code=True"),
])
def test_the_search_finds(text, found):
    assert found in risky(ast.parse(text))


@pytest.mark.parametrize("text", [
    "import re\nre.compile('x')", "from re import compile\ncompile('x')", "f(shell=False)",
    "class A:\n    compile: bool = False\na.compile",
    "f(trust_remote_code=False)", "{'trust_remote_code': False}", "import json\njson.load(x)", "model.eval()",
    "import yaml\nclass RecipeLoader(yaml.SafeLoader): pass\nyaml.load(x, RecipeLoader)",
    "import safetensors.torch\nsafetensors.torch.load_file(x)", "import torch\nmodel.load_state_dict(x)",
    "for pickle in jar: pickle.eat()", "import os\nos.replace(a, b)", "getattr(state, 'load')"])
def test_the_search_leaves_alone(text):
    assert not risky(ast.parse(text))


def planted(path: Path, mark: Path) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(pickle.dumps(Malicious(mark)))
    assert any(code.name == "REDUCE" for code, *_ in pickletools.genops(path.read_bytes()))


TORCH_NAMES = ["pytorch_model.bin", "optimizer.bin", "scheduler.bin", "scaler.pt", "random_states_0.pkl",
               "training_args.bin", "custom_checkpoint_0.pkl"]


@pytest.mark.parametrize("name", [*FILES, *TORCH_NAMES])
@pytest.mark.parametrize("listed", [False, True])
def test_a_pickle_in_a_checkpoint_is_not_run(tmp_path, name, listed):
    """Damaged by its checksum; with a manifest that agrees, refused, or a file that nothing reads."""
    write(tmp_path, 1)
    folder, mark = tmp_path / "step-1", tmp_path / "ran"
    planted(folder / name, mark)
    if listed and name != "manifest.json":
        sums = {path.name: checksum(path) for path in folder.iterdir() if path.name != "manifest.json"}
        (folder / "manifest.json").write_text(json.dumps(sums))
    path, _ = checkpoint.newest(tmp_path)
    assert (path is None) == (name in FILES and (not listed or name == "manifest.json"))
    try:
        checkpoint.read(folder, *make(2, updates=0), IDENTITY)
    except UserError as error:
        assert re.search("a part does not load", str(error)) and name in FILES
    else:
        assert name in (*TORCH_NAMES, "manifest.json")
    assert not mark.exists()


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run of two languages with predictions, as `report` and `compare` read it."""
    folder = tmp_path_factory.mktemp("finished")
    run = make_run(folder / "run", write_data(folder / "data"))
    scored = ["score", str(run), "--langs", "de", "--output_dir", str(folder / "scored")]
    assert evaluate.main(scored) == 0
    shutil.copytree(folder / "scored" / "predictions", run / "predictions")
    shutil.copy(folder / "scored" / "results.json", run)
    return run


@pytest.mark.parametrize("name", ["config.yaml", "results.json", "predictions/test.de.tsv", "model/config.json",
                                  "model/model.safetensors", "model/tokenizer.json", "model/training_args.bin",
                                  "model/pytorch_model.bin", "checkpoints/step-1/random_states_0.pkl"])
def test_a_pickle_in_a_run_is_not_run(finished, tmp_path, monkeypatch, capsys, name):
    run, mark = shutil.copytree(finished, tmp_path / "run"), tmp_path / "ran"
    doubles.runs_folder(monkeypatch, tmp_path / "runs")
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    planted(run / name, mark)
    for argv in (["score", run, "--langs", "de"], ["tag", run, "Bern"], ["compare", run, run], ["report", run]):
        assert evaluate.main([str(word) for word in argv]) in (0, 2)
    assert "Traceback" not in capsys.readouterr().err and not mark.exists()


DATA_NAMES = ["README.md", ".huggingface.yaml", "dataset_infos.json", "dataset_info.json", "state.json",
              "data/test.parquet", "data/test.arrow", "data/test.json", "data/test.csv", "data/test.txt",
              "data/test.pkl", "data/test.pickle", "data/test.npy", "data/test.tar", "data/test.zip", "data/test.pt",
              "data/test.h5"]


@pytest.mark.parametrize("name", DATA_NAMES)
def test_a_pickle_in_a_data_set_of_the_hubs_layout_is_not_run(tmp_path, monkeypatch, name):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "set" / "data").mkdir(parents=True)
    planted(tmp_path / "set" / name, tmp_path / "ran")
    with pytest.raises(UserError) as error:
        corpora.read(Options(dataset=str(tmp_path / "set")), "de", "test")
    assert "\n" not in str(error.value) and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["test", "test.tsv", "test.conll", "test.iob2", "test.jsonl"])
def test_a_pickle_among_files_of_sentences_is_not_run(tmp_path, name):
    write_files(tmp_path)
    (tmp_path / "de" / "test").unlink()
    planted(tmp_path / "de" / name, tmp_path / "ran")
    with pytest.raises(UserError, match=f"{name}:1: .*; expected"):
        corpora.read(Options(data_dir=str(tmp_path)), "de", "test")
    assert not (tmp_path / "ran").exists()


# ---- names out of data are no paths


EVIL = ["../../evil", "de/../x", "/tmp/evil", "..", ".", "", "a/b", "a\\b", "de\n", "~root", "x" * 300, "mean_f1"]


@pytest.mark.parametrize("lang", EVIL)
def test_a_language_cannot_be_a_path(tmp_path, monkeypatch, lang, capsys):
    """Whatever a folder, a configuration or a column calls it."""
    folder = lexicon_folder(tmp_path / "a" / "b" / "model")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    data = write_data(tmp_path / "a" / "data", "de")
    with_column = tmp_path / "a" / "set"
    with_column.mkdir()
    rows = [{"tokens": ["Bern"], "ner_tags": [0], "lang": lang}]
    (with_column / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    for source in (("--data_dir", data), ("--dataset", with_column), ("--dataset", "swiss")):
        argv = ["score", folder, *source, f"--langs={lang}", "--output_dir", tmp_path / "a" / "b" / "out"]
        assert evaluate.main([str(word) for word in argv]) == 2
        error = capsys.readouterr().err
        why = "cannot name a language; expected letters, digits and . + - _"
        assert ("contains a control character" if "\n" in lang else why) in error and error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
    for options in ({"train_langs": [lang]}, {"eval_langs": [lang]}, {"validation_langs": [lang]}):
        with pytest.raises(UserError, match="cannot name a language"):
            corpora.load(Options(data_dir=str(data), **{"train_langs": ["de"], "eval_langs": ["de"], **options}))


def test_names_that_cannot_be_languages_are_not_listed(tmp_path):
    data = write_data(tmp_path, "de")
    for name in ("a\nb", "x y", ".hidden", "pt-BR", "zh_min.nan+x"):
        shutil.copytree(data / "de", data / name)
    with pytest.raises(UserError) as error:
        corpora.read(Options(data_dir=str(data)), "xx", "test")
    assert str(error.value) == f"{data}: no language 'xx'; there are de, pt-BR, zh_min.nan+x"
