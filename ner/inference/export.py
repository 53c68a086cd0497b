"""A trained model with only the subwords that a text can need: a fraction of the size, the same tags.

Trade-off: text with other subwords is still tagged, but its words are split into shorter ones than in training. How
often that will happen is estimated from every tenth sentence, with the subwords of the others.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset
from tabulate import tabulate

from ner.data import alignment, corpora
from ner.data.blocks import blocks
from ner.data.shards import matching, shards_of
from ner.evaluation.per_language import Scored
from ner.files import whole_folder
from ner.inference import onnx_file, trim
from ner.inference.tagger import text_of
from ner.inference.trained import EXPORTED, Trained, kept_options, load, scored_rows
from ner.model import pretrained
from ner.options import UserError

SPLITS = ("train", "validation", "test")
DTYPES = {"float32": torch.float32, "float16": torch.float16}


class Reduced(NamedTuple):
    """A vocabulary for a text."""

    content: dict  # tokenizer.json
    rows: np.ndarray  # sorted ids of the full vocabulary
    words: int  # in the text
    otherwise: float | None  # share of the words of a new text that are split otherwise, estimated


def export(trained: Trained, folder: Path, sentences: Iterable[list[str]], test: Mapping[str, Dataset], dtype: str,
           accelerator: Accelerator, onnx: bool = False, int8: bool = False) -> dict:
    """Write the model for the words of `sentences` into a new folder, whole or not at all; what is in its export.json.
    `test`: sentences with the model's tags, by language, to score with the model before and after, and with each ONNX
    file. ``UserError`` for a tokenizer that cannot be reduced, and weights beyond the numbers of `dtype`."""
    if onnx or int8:
        onnx_file.check_installed()
    reduced = vocabulary_for(trained, sentences)
    scored = {"before": scored_rows(trained, test, accelerator)[1]}
    sizes = [megabytes(trained.folder)]
    with whole_folder(folder) as new:
        write_model(trained, reduced, new, dtype)
        exported = load(str(new), accelerator)._replace(options=trained.options)
        scored["after"] = scored_rows(exported, test, accelerator)[1]
        sizes.append(megabytes(new))
        for path in onnx_files(new, int8) if onnx or int8 else ():
            model: Any = onnx_file.OnnxModel(path, exported.model)
            scored[path.name] = scored_rows(exported._replace(model=model), test, accelerator)[1]
            sizes.append(round(path.stat().st_size / 1e6, 1))
        report = {"models": list(scored), "subwords": [trained.model.config.vocab_size, len(reduced.rows)],
                  "megabytes": sizes, "dtype": dtype, "words": reduced.words,
                  "split_otherwise": reduced.otherwise and round(reduced.otherwise, 4),
                  "f1": {lang: [found[lang].metrics["f1"] for found in scored.values()] for lang in test},
                  "scored_words": sum(len(one.predictions.labels) for one in scored["before"].values()),
                  "other_tags": [other_tags(found, scored["before"]) for found in scored.values()],
                  "options": kept_options(trained)}
        (new / EXPORTED).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return report


def other_tags(found: Mapping[str, Scored], before: Mapping[str, Scored]) -> int:
    """Words of the scored sentences that get another tag than before."""
    return sum(int(np.count_nonzero(found[lang].predictions.labels != before[lang].predictions.labels))
               for lang in before)


def onnx_files(folder: Path, int8: bool) -> list[Path]:
    path = onnx_file.write(folder)
    return [path, onnx_file.write_int8(path)] if int8 else [path]


def vocabulary_for(trained: Trained, sentences: Iterable[list[str]]) -> Reduced:
    tokenizer, config = trained.tokenizer, trained.model.config
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    trim.check_kind(trained.folder, content)
    nine, tenth = trim.every_tenth(sentences)
    words: Counter[str] = nine + tenth
    if not words:
        raise UserError("--text: holds no word; expected text like that to tag")
    subwords = alignment.subwords(set(words), tokenizer)
    pad_id = max(config.pad_token_id, tokenizer.pad_token_id)

    def kept(words: Counter[str]) -> np.ndarray:
        return trim.kept_ids(content, [subwords[word] for word in words], words, pad_id)

    rows = kept(words)
    return Reduced(trim.trimmed(content, rows), rows, words.total(), trim.otherwise(subwords, kept(nine), tenth))


def write_model(trained: Trained, reduced: Reduced, folder: Path, dtype: str) -> None:
    """As `save_model`, with fewer embeddings and the tokenizer for them."""
    config = pretrained.load_config(trained.folder)
    new = {old: i for i, old in enumerate(reduced.rows.tolist())}
    for name, value in config.to_dict().items():
        if name.endswith("_token_id") and value is not None:
            setattr(config, name, new.get(value))
    config.vocab_size = len(reduced.rows)
    state = {name: parameter.detach().cpu() for name, parameter in trained.model.named_parameters()}
    state[pretrained.WORD_EMBEDDINGS] = state[pretrained.WORD_EMBEDDINGS][torch.from_numpy(reduced.rows)]
    state = {name: tensor.to(DTYPES[dtype]) for name, tensor in state.items()}
    for name in (name for name, tensor in state.items() if not torch.isfinite(tensor).all()):
        raise UserError(f"{trained.folder}: {name} has values that {dtype} cannot hold; use --dtype float32")
    tags = pretrained.tags_of(config)
    assert tags is not None, "checked by `load`"
    pretrained.save_model(folder, state, config, trained.tokenizer, tags, card(trained.folder, reduced))
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(reduced.content, ensure_ascii=False), encoding="utf-8")


def card(folder: Path, reduced: Reduced) -> str:
    """The model's own card and what was done to it."""
    path = folder / "README.md"
    own = path.read_text(encoding="utf-8", errors="replace").rstrip() + "\n\n" if path.is_file() else ""
    return (f"{own}## Vocabulary\n\nReduced to {len(reduced.rows):,} subwords, those of a text of {reduced.words:,} "
            f"words and the single characters of its scripts. Text like it is tagged as by the full model; "
            f"{estimate(reduced.otherwise)}.\n")


def estimate(otherwise: float | None) -> str:
    """The share of the words of new text that are split otherwise, in words."""
    if otherwise is None:
        return "how many words of new text are split otherwise is not estimated: that takes at least ten texts"
    return f"of the words of new text like it, an estimated {otherwise:.1%} are split otherwise"


def megabytes(folder: Path) -> float:
    """Of the files that a model is loaded from."""
    files = {path for pattern in pretrained.FILES for path in folder.glob(pattern)}
    return round(sum(path.stat().st_size for path in files) / 1e6, 1)


def report_table(report: dict) -> str:
    count = len(report["models"])
    rows = [["subwords", *report["subwords"], *report["subwords"][1:] * (count - 2)], ["MB", *report["megabytes"]],
            *([f"F1 {lang}", *(f"{100 * f1:.2f}" for f1 in each)] for lang, each in report["f1"].items()),
            *([[f"words with other tags, of {report['scored_words']:,}", *report["other_tags"]]]
              if report["f1"] else [])]
    return tabulate([["", *report["models"]], *rows], tablefmt="plain", disable_numparse=True,
                    colalign=["left", *["right"] * count])


# ---- the words


def words_of_files(patterns: list[str]) -> Iterator[list[str]]:
    """The words of each text in files as `evaluate.py tag --input` reads them; rows that hold no text are left out."""
    for pattern in patterns:
        for path in matching(pattern, "--text"):
            for shard in shards_of(Path(path)):
                for block in blocks(shard, None):
                    for place, value in enumerate(block.values):
                        try:
                            yield [] if place in block.problems else [w.text for w in text_of(value, False).words]
                        except ValueError:
                            continue


def words_of_data(trained: Trained, langs: list[str] | None) -> Iterator[list[str]]:
    """The words of all sentences in `langs`, of every split; by default those of the run's data, with the training
    sentences that `num_train_sentences` leaves out."""
    options = trained.options
    wanted = dict.fromkeys(SPLITS, langs or options.eval_langs)
    if langs is None:
        wanted["train"] = list(dict.fromkeys([*options.train_langs, *(options.pseudo_langs or [])]))
        wanted["validation"] = options.validation_langs or options.eval_langs
    alone = len({lang for langs in wanted.values() for lang in langs}) == 1
    for split, own in wanted.items():
        for rows in corpora.unlabelled(options, own, trained.tags, split, alone).values():
            yield from rows["tokens"]
