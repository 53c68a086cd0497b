"""Documents cut into windows against the same documents in one window: how many words get the same tag.

Started with ``python -m tests.proofs.windows RUN --data_dir DIR``. A document is sentences of a split in their order,
400 to 500 subwords, so that one window of 512 holds it. A model looks everywhere a little, so any change of the text
around a word changes some tags: for comparison, `shorter` is one window with the document's first quarter left out.
And tags that differ may be better ones, since models are trained on single sentences: F1 against the gold tags stands
beside it.

Measured on 100 documents a language of PAN-X, same tag in % (de, fr, it, en). configs/panx-de.yaml, trained on
single sentences: 88.7, 76.2, 81.2, 79.5 with windows, 92.2, 80.5, 84.1, 82.1 `shorter`; it is the one window that
fails: F1 44, 28, 32, 28 against 70, 51, 52, 41 in windows. The same model trained two epochs more on 459 German
documents of up to 500 subwords: 98.2, 93.9, 93.0, 93.5 with windows, 98.2, 92.7, 92.6, 92.4 `shorter`; F1 within 1.2.
"""

import argparse
from typing import NamedTuple

import numpy as np
from accelerate import Accelerator
from tabulate import tabulate

from ner.data import alignment, corpora, encoded
from ner.data.collate import padding_of
from ner.evaluation import scoring
from ner.evaluation.predict import predict
from ner.inference.trained import Trained, load
from ner.options import Options
from ner.tags import TagSet

SHORTEST, LONGEST, WHOLE, WINDOW = 400, 500, 512, 128


class Document(NamedTuple):
    words: list[str]
    gold: list[int]


class Compared(NamedTuple):
    """Shares of the words with the same tag: of all, and of those that gold or a prediction calls an entity."""

    agreement: float
    agreement_entities: float
    f1_whole: float
    f1_other: float


def documents(sentences: list[Document], tokenizer, most: int) -> list[Document]:
    """Up to `most` of them; a sentence that would make one too long, and an unfinished last one, are left out."""
    known = alignment.subwords({word for sentence in sentences for word in sentence.words}, tokenizer)
    found, words, gold, size = [], [], [], 0
    for sentence in sentences:
        length = sum(len(known[word]) for word in sentence.words)
        if size + length <= LONGEST:
            words, gold, size = words + sentence.words, gold + sentence.gold, size + length
        if size >= SHORTEST:
            found.append(Document(words, gold))
            words, gold, size = [], [], 0
    return found[:most]


def tag(model, tokenizer, tags: TagSet, glued: list[Document], max_length: int, stride: int | None) -> np.ndarray:
    """(N,) the most probable label of every word."""
    sentences = encoded.unlabelled([one.words for one in glued], tokenizer, max_length, stride)
    assert max_length < WHOLE or all(len(windows) == 1 for windows in sentences.windows)
    return predict(model, sentences, tags, padding_of(tokenizer), Accelerator(), "argmax").labels


def compare(glued: list[Document], names: tuple[str, ...], whole: np.ndarray, other: np.ndarray) -> Compared:
    gold, same, outside = np.concatenate([one.gold for one in glued]), whole == other, names.index("O")
    entity = (whole != outside) | (other != outside) | (gold != outside)
    lengths, types = [len(one.words) for one in glued], scoring.entity_types(names)
    f1 = [scoring.scores(scoring.entity_counts(gold, labels, lengths, names), types)["f1"] for labels in (whole, other)]
    return Compared(float(same.mean()), float(same[entity].mean()), *f1)


def without_first_quarter(glued: list[Document]) -> tuple[list[Document], np.ndarray]:
    """The documents without the first quarter of their words, and (N,) whether a word of `glued` is kept."""
    starts = [len(one.words) // 4 for one in glued]
    kept = [np.arange(len(one.words)) >= start for one, start in zip(glued, starts)]
    return [Document(one.words[start:], one.gold[start:]) for one, start in zip(glued, starts)], np.concatenate(kept)


def sentences_of(trained: Trained, data_dir: str | None, lang: str, split: str) -> list[Document]:
    raw = corpora.read(Options(data_dir=data_dir) if data_dir else trained.options, lang, split)
    return [Document(one.tokens, trained.tags.labels(one.tags)) for one in raw.sentences]


def main(run: str, data_dir: str | None, langs: list[str] | None, split: str, most: int, strides: list[int]) -> None:
    trained = load(run, Accelerator())
    model, tokenizer, names = trained.model, trained.tokenizer, trained.tags.names
    rows = []
    for lang in langs or trained.options.eval_langs:
        glued = documents(sentences_of(trained, data_dir, lang, split), tokenizer, most)
        whole = tag(model, tokenizer, trained.tags, glued, WHOLE, 0)
        shorter, kept = without_first_quarter(glued)
        found = {f"stride {stride}": compare(glued, names, whole,
                                             tag(model, tokenizer, trained.tags, glued, WINDOW, stride))
                 for stride in strides}
        found["shorter"] = compare(shorter, names, whole[kept], tag(model, tokenizer, trained.tags, shorter, WHOLE, 0))
        for what, row in found.items():
            rows.append([lang, len(glued), len(whole), what, *(100 * share for share in row)])
    header = ["lang", "documents", "words", "windows", "same tag", "of entities", "F1, one window", "F1"]
    table = tabulate(rows, header, "plain", floatfmt=".2f")
    print(f"windows of {WINDOW} subwords against one of {WHOLE}, in %\n{table}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN_OR_MODEL", help="folder of a run, model folder or Hub name")
    parser.add_argument("--data_dir", help="folder with <lang>/{train,dev,test} files [the data of the run]")
    parser.add_argument("--langs", nargs="+", help="[those of the run]")
    parser.add_argument("--split", default="test", choices=["train", "validation", "test"], help="[test]")
    parser.add_argument("--documents", type=int, default=100, help="a language [100]")
    parser.add_argument("--strides", type=int, nargs="+", default=[WINDOW // 2, 0], help="[64 0]")
    args = parser.parse_args()
    main(args.run, args.data_dir, args.langs, args.split, args.documents, args.strides)
