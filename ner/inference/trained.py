"""A trained model, from a run's folder or from elsewhere, and its scores on any data set.

Trade-off. A model from elsewhere is scored with its own tag names, so its ids can have any order, but the tags of the
data must be among them unless `types` says what they are: guessing that HUMAN means PER would give figures that nobody
can compare. A model that was trained on IOB1 (some I-X without B-X) is read here alone: its answers become IOB2, and
nothing else has to ask.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from accelerate import Accelerator
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from ner.data import corpora, encoded
from ner.data.collate import padding_of
from ner.data.encoded import Encoded
from ner.evaluation import per_language, predict
from ner.evaluation.per_language import Scored
from ner.evaluation.predict import Predictions
from ner.files import checksum
from ner.model import pretrained
from ner.model.roberta import TokenClassifier
from ner.options import Options, UserError, resolve, shown
from ner.recipe import is_study, read_recipe
from ner.schemes import iob1_to_iob2
from ner.tags import NO_LABEL, UNANNOTATED, TagSet
from ner.training import machine

EXPORTED = "export.json"  # in a model folder that `evaluate.py export` or `average` has written
KEPT_OPTIONS = ("max_length", "stride", "decode")  # without which such a folder would tag otherwise than its run


class Trained(NamedTuple):
    """A model that can tag, and the options of the run that made it (the defaults for a model from elsewhere)."""

    model: TokenClassifier
    tokenizer: PreTrainedTokenizerBase
    tags: TagSet  # the model's, and after them each B-X that it lacks beside an I-X
    options: Options
    folder: Path


def is_run(name: str) -> bool:
    return os.path.isfile(Path(name) / "config.yaml")


def has_data(name: str, data_dir: str | None, dataset: str | None) -> bool:
    """Whether there are sentences to score: those of a run, or of data that the command line names."""
    return is_run(name) or data_dir is not None or dataset is not None


def options_of(name: str, revision: str | None = None) -> Options:
    """Of the run whose folder this is, or was exported from; for a model from elsewhere the defaults."""
    path, exported = Path(name) / "config.yaml", Path(name) / EXPORTED
    if os.path.isfile(exported):
        found = pretrained.read_json(exported).get("options")
        return resolve({**(found if isinstance(found, dict) else {}), "model": name}, str(exported))
    if not os.path.isfile(path):
        return Options(model=name, model_revision=revision)
    recipe = read_recipe(path)
    if is_study(recipe):
        raise UserError(f"{name}: holds several runs; name one of the folders in it")
    return resolve(recipe, str(path))


def kept_options(trained: Trained) -> dict:
    """`options` of an `EXPORTED`."""
    return {name: getattr(trained.options, name) for name in KEPT_OPTIONS}


def model_folder(name: str, revision: str | None = None) -> Path:
    """Of the run whose folder `name` is; else the folder that it names, or that of a model on the Hub."""
    run = Path(name)
    if not os.path.isfile(run / "config.yaml"):
        return pretrained.folder_of(name, revision)
    if not (run / "model").is_dir():
        raise UserError(f"{run}: holds no model/; finish the run first with --resume")
    return run / "model"


def tags_in(folder: Path, config) -> TagSet:
    """The tags of a model folder, and after them each B-X that it lacks beside an I-X."""
    try:
        names = pretrained.tags_of(config)
        if names is None:
            raise UserError(f"{folder}/config.json: names no tags in id2label; expected a fine-tuned token classifier")
        return TagSet((*names, *lacking(names)))
    except ValueError as error:
        raise UserError(f"{folder}/config.json: id2label is not an IOB2 or IOB1 tag set ({error})") from None


def weights_checksum(name: str, revision: str | None = None) -> str:
    """SHA-256 of the weights of the model that `load` would load."""
    files = {path for path, _ in pretrained.weight_files(model_folder(name, revision)).values()}
    sums = [checksum(path) for path in sorted(files)]
    return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()


def accelerator_for(name: str, device: str, mixed_precision: str | None = None) -> Accelerator:
    """This process's, on a device, in a precision or in that of the run `name`."""
    own = options_of(name)
    return machine.accelerator(replace(own, device=device, mixed_precision=mixed_precision or own.mixed_precision))


def load(name: str, accelerator: Accelerator, revision: str | None = None) -> Trained:
    """From a run's folder, or from any token-classification checkpoint of the RoBERTa family (folder or Hub name)."""
    options, folder = options_of(name, revision), model_folder(name, revision)
    config = pretrained.load_config(folder)
    tags = tags_in(folder, config)
    tokenizer = pretrained.load_tokenizer(folder, config)
    longest = config.max_position_embeddings - config.pad_token_id - 1
    options = replace(options, max_length=min(options.max_length, longest))
    model = pretrained.load_model(folder, config, options.attention)
    # On the device and in the precision of training, but without a wrapper: each process scores its own part.
    model = accelerator.prepare_model(model, evaluation_mode=True)
    return Trained(model, tokenizer, tags, options, folder)


def legal(trained: Trained) -> Trained:
    """The same model with tags that are legal (`decode: viterbi`), whatever its run was scored with."""
    return trained._replace(options=replace(trained.options, decode="viterbi"))


def type_map(pairs: list[str]) -> dict[str, str]:
    """``type_map(["MISC=O", "PERSON=PER"]) -> {"MISC": "O", "PERSON": "PER"}``"""
    types: dict[str, str] = {}
    for pair in pairs:
        old, _, new = pair.partition("=")
        if not (old and new):
            raise UserError(f"--map: expected TYPE=TYPE or TYPE=O, as PERSON=PER, found {shown(pair)}")
        if old in types:
            raise UserError(f"--map: expected {shown(old)} once, found {types[old]} and {new} for it")
        types[old] = new
    return types


def score(trained: Trained, langs: list[str], split: str, accelerator: Accelerator,
          types: Mapping[str, str] | None = None) -> tuple[dict[str, Encoded], dict[str, Scored]]:
    """Every language of a split: its sentences, and its scores. Tags are matched by name, after `types` of the data
    were replaced by those of the model (or O)."""
    known = [*trained.tags.types, "O"]
    for new in (new for new in (types or {}).values() if new not in known):
        raise UserError(f"--map: no type {shown(new)} in the model; there are {', '.join(known)}")
    rows = labelled_rows(trained, langs, split, types)
    accelerator.print(corpora.count_table({split: rows}, trained.tags), "\n")
    return scored_rows(trained, rows, accelerator)


def labelled_rows(trained: Trained, langs: list[str], split: str,
                  types: Mapping[str, str] | None = None) -> dict[str, Dataset]:
    """The sentences of a split with the model's tags, by language."""
    options = replace(trained.options, tags=list(trained.tags.names))
    return corpora.load(options, {split: langs}, types)[0][split]


def scored_rows(trained: Trained, rows: Mapping[str, Dataset],
                accelerator: Accelerator) -> tuple[dict[str, Encoded], dict[str, Scored]]:
    """The same for data sets with the model's tags, by language."""
    languages = {lang: encoded.encode(own, trained.tokenizer, trained.options.max_length, trained.options.stride)
                 for lang, own in rows.items()}
    scored = {lang: per_language.score(sentences, predicted(trained, sentences, accelerator), trained.tags, None)
              for lang, sentences in languages.items()}
    return languages, scored


def predicted(trained: Trained, sentences: Encoded, accelerator: Accelerator) -> Predictions:
    """The predictions of a model. Those of one trained on IOB1, where any I-X is legal, come as IOB2; its losses are of
    gold tags in IOB1."""
    tags, padding = trained.tags, padding_of(trained.tokenizer)
    unknown = set(tags.names[trained.model.config.num_labels:])
    if not unknown:
        return predict.predict(trained.model, sentences, tags, padding, accelerator, trained.options.decode)
    known = {tag: tags.ids["I-" + tag[2:] if tag in unknown else tag] for tag in tags.names} | {UNANNOTATED: NO_LABEL}
    gold = [known[tag] for labels in sentences.per_sentence(sentences.gold)
            for tag in iob2_to_iob1(tags.names_of(labels))]
    sentences = sentences._replace(gold=np.array(gold, np.int64))
    found = predict.predict(trained.model, sentences, tags, padding, accelerator, "argmax")
    answers = [iob1_to_iob2(tags.names_of(labels)) for labels in sentences.per_sentence(found.labels)]
    labels = np.array([tags.ids[tag] for sentence in answers for tag in sentence], np.int64)
    return found._replace(labels=labels, argmax=labels)


def lacking(names: tuple[str, ...]) -> list[str]:
    """The B-X that are missing beside an I-X: ``("O", "I-PER", "B-LOC") -> ["B-PER"]``."""
    opening = ("B-" + name[2:] for name in names if str(name).startswith("I-"))
    return [name for name in opening if name not in names]


def iob2_to_iob1(tags: list[str]) -> list[str]:
    """The same entities, with a ``B-`` only where one follows another of its type."""
    return ["I-" + tag[2:] if tag.startswith("B-") and before[2:] != tag[2:] else tag
            for before, tag in pairwise(("O", *tags))]
