"""A trained model on other sentences: score a data set, tag text.

Trade-off. A model from elsewhere is scored with its own tag names, so its ids may stand in any order, but the tags of
the data must be among them: guessing that HUMAN means PER would give figures that nobody can compare.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from accelerate import Accelerator

from ner.data import alignment, corpora, text
from ner.evaluation import evaluate
from ner.evaluation.predict import predict
from ner.files import is_study
from ner.model import pretrained
from ner.options import Options, UserError, resolve
from ner.recipe import read_recipe
from ner.tags import TagSet

MAX_CHARACTERS = 1 << 20  # of one text: a line without an end is refused before it fills the memory


class Trained(NamedTuple):
    """A model that can tag, and the options of the run that made it (the defaults for a model from elsewhere)."""

    model: object
    tokenizer: object
    tags: TagSet
    options: Options
    folder: Path


def options_of(name: str, revision: str | None = None) -> Options:
    """Of the run whose folder this is; for a model from elsewhere the defaults."""
    path = Path(name) / "config.yaml"
    if not os.path.isfile(path):
        return Options(model=name, model_revision=revision)
    recipe = read_recipe(path)
    if is_study(recipe):
        raise UserError(f"{name}: holds several runs; name one of the folders in it")
    return resolve(recipe, str(path))


def load(name: str, accelerator: Accelerator, revision: str | None = None) -> Trained:
    """From a run's folder, or from any token-classification checkpoint of the RoBERTa family (folder or Hub name)."""
    options, run = options_of(name, revision), Path(name)
    if os.path.isfile(run / "config.yaml"):
        folder = run / "model"
        if not folder.is_dir():
            raise UserError(f"{run}: holds no model/; finish the run first with --resume")
    else:
        folder = pretrained.folder_of(name, revision)
    config = pretrained.load_config(folder)
    try:
        names = pretrained.tags_of(config)
        if names is None:
            raise UserError(f"{folder}/config.json: names no tags in id2label; expected a fine-tuned token classifier")
        tags = TagSet(names)
    except ValueError as error:
        raise UserError(f"{folder}/config.json: id2label is no IOB2 tag set ({error})") from None
    tokenizer = pretrained.load_tokenizer(folder, config)
    longest = config.max_position_embeddings - config.pad_token_id - 1
    options = replace(options, max_length=min(options.max_length, longest))
    model = pretrained.load_model(folder, config, options.attention)
    # On the device and in the precision of training, but no wrapper: each process scores what there is for it.
    model = accelerator.prepare_model(model, evaluation_mode=True)
    return Trained(model, tokenizer, tags, options, folder)


def score(trained: Trained, langs: list[str], split: str, accelerator: Accelerator):
    """Every language of a split scored: (encoded sentences, scores) by language. Tags are matched by name."""
    options = replace(trained.options, tags=list(trained.tags.names))
    corpus, _ = corpora.load(options, {split: langs})
    accelerator.print(corpora.table(corpus, trained.tags), "\n")
    encoded = {lang: evaluate.encode(rows, trained.tokenizer, options.max_length, options.stride)
               for lang, rows in corpus[split].items()}
    return encoded, evaluate.evaluate(trained.model, encoded, trained.tags, trained.tokenizer, accelerator)


class Tagged(NamedTuple):
    text: str
    words: list[text.Word]
    tags: list[str]
    confidence: list[float]


def tag(trained: Trained, texts: list[str], accelerator: Accelerator) -> list[Tagged]:
    """Raw texts, split into words as the training data is, tagged; one without words has no tags. ``UserError`` where a
    text holds bytes that are not UTF-8 (they come as surrogates) or is longer than `MAX_CHARACTERS`."""
    for one in texts:
        if len(one) > MAX_CHARACTERS:
            raise UserError(f"the text {one[:20]!r}... is longer than {MAX_CHARACTERS:,} characters; expected a page")
        if any("\ud800" <= character <= "\udfff" for character in one):
            raise UserError(f"the text {one[:40]!r} is not UTF-8; expected UTF-8")
    words = [text.split_words(one) for one in texts]
    tokens = [[word.text for word in one] for one in words]
    options = trained.options
    windows = alignment.encode([t for t in tokens if t], [[0] * len(t) for t in tokens if t], trained.tokenizer,
                               options.max_length, options.stride)
    lengths = [len(t) for t in tokens if t]
    found = predict(trained.model, windows, lengths, trained.tokenizer.pad_token_id, trained.tokenizer.padding_side,
                    accelerator)
    ends = np.cumsum([len(t) for t in tokens])
    return [Tagged(one, split, [trained.tags.names[label] for label in found.labels[end - len(split) : end]],
                   found.confidence[end - len(split) : end].tolist()) for one, split, end in zip(texts, words, ends)]


def as_columns(tagged: Tagged) -> str:
    """``word<TAB>tag`` lines."""
    return "".join(f"{word.text}\t{tag}\n" for word, tag in zip(tagged.words, tagged.tags))


def as_json(tagged: Tagged) -> str:
    """One line: the text and its entities with character offsets and scores."""
    found = text.entities(tagged.tags, tagged.words, tagged.text, tagged.confidence)
    return json.dumps({"text": tagged.text, "entities": found}, ensure_ascii=False) + "\n"


def as_subwords(tagged: Tagged, trained: Trained) -> str:
    """The table of the book's chapter 4: subword, id, word number, tag; IGN where a subword carries no tag."""
    known = alignment.subwords({word.text for word in tagged.words}, trained.tokenizer)
    rows = [("subword", "id", "word", "tag"), special(trained, trained.tokenizer.cls_token_id)]
    for number, (word, name) in enumerate(zip(tagged.words, tagged.tags)):
        for i, piece in enumerate(known[word.text]):
            subword = trained.tokenizer.convert_ids_to_tokens(piece)
            rows.append((subword, str(piece), str(number), "IGN" if i else name))
    rows.append(special(trained, trained.tokenizer.sep_token_id))
    return "".join(f"{a:<20}{b:>8}{c:>6}  {d}\n" for a, b, c, d in rows)


def special(trained: Trained, token_id: int) -> tuple[str, str, str, str]:
    return trained.tokenizer.convert_ids_to_tokens(token_id), str(token_id), "", "IGN"


def lines(stream) -> Iterator[str]:
    """The lines of a text stream without their ends; one that is longer than `MAX_CHARACTERS` comes cut just beyond."""
    try:
        while line := stream.readline(MAX_CHARACTERS + 1):
            yield line.removesuffix("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"standard input is not UTF-8 ({error.reason}); expected UTF-8") from None


def batches(texts: Iterable[str], size: int = 256) -> Iterator[list[str]]:
    """`size` texts at a time, so that a long stream is answered as it comes."""
    texts = iter(texts)
    while part := list(islice(texts, size)):
        yield part
