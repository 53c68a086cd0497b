"""Sentences, and a run on them with a model whose answers are known: it tags a word by its first subword alone."""

import json

import yaml
from accelerate import Accelerator

from ner.inference import tag as tag_module
from ner.options import Options, as_recipe
from tests.helpers.folders import lexicon_folder

SENTENCES = [
    [("Anna", "B-PER"), ("Keller", "I-PER"), ("wohnt", "O"), ("in", "O"), ("Bern", "B-LOC"), (".", "O")],
    [("der", "O"), ("Keller", "O"), ("bei", "O"), ("der", "O"), ("Post", "B-LOC"), (".", "O")],
    [("Genf", "B-LOC"), ("\u200b", "O")],
]


def write_data(folder, lang="de", split="test", sentences=SENTENCES):
    """The file of a split in a data_dir."""
    (folder / lang).mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"tokens": [w for w, _ in s], "tags": [t for _, t in s]}) + "\n" for s in sentences]
    (folder / lang / f"{split}.jsonl").write_text("".join(lines))
    return folder


def make_run(run, data, **changes):
    """A finished run whose model is that of `lexicon_folder`, without results."""
    lexicon_folder(run / "model")
    options = Options(data_dir=str(data), train_langs=["de"], eval_langs=["de", "fr"], **changes)
    (run / "config.yaml").write_text(yaml.safe_dump(as_recipe(options)))
    return run


def tag(trained, *texts, pretokenized=False):
    """Each text tagged."""
    read = tag_module.read_texts(texts, pretokenized=pretokenized)
    return tag_module.tag(trained, list(read), Accelerator(cpu=True))
