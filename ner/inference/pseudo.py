"""Pseudo-labels: a trained model, the teacher, tags sentences without gold tags for another model to train on.

A word whose predicted tag has a low probability is masked (label -1, which is not trained on). Of the sentences, the
share with the highest confidence is kept for each predicted type, so that rare types stay (class-balanced
self-training, Zou et al. 2018, arXiv:1810.07911).

The files are ``<lang>/train.jsonl`` with ``tokens``, ``tags`` (``?`` where masked) and ``row`` in the source, which
train.py reads with --data_dir, and pseudo.json, which says where they are from and holds their checksums.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from datasets import Dataset
from tabulate import tabulate

from ner.data import corpora, encoded
from ner.files import checksum, whole_folder
from ner.inference.trained import Trained, legal, predicted
from ner.options import UserError
from ner.tags import NO_LABEL, TagSet, spans

ABOUT, SENTENCES = "pseudo.json", "train.jsonl"


def pseudo_labelled(teacher: Trained, pool: Mapping[str, Dataset], tags: TagSet, confidence: float, share: float,
                    accelerator: Accelerator) -> dict[str, Dataset]:
    """The sentences of each language that are kept, with the teacher's tags; every process returns all of them.

    pool: as `corpora.unlabelled` makes it. tags: the teacher's in any order. ``UserError`` where no word is left.
    """
    ids = np.array([tags.ids[name] for name in teacher.tags.names])
    teacher, result = legal(teacher), {}
    options = teacher.options
    for lang, rows in pool.items():
        accelerator.print(f"{teacher.folder}: tagging {len(rows):,} sentences of {lang}")
        sentences = encoded.unlabelled(list(rows["tokens"]), teacher.tokenizer, options.max_length, options.stride)
        found = predicted(teacher, sentences, accelerator)
        labels = ids[found.labels]
        types = [{kind for _, _, kind in spans(tags.names_of(one))} for one in sentences.per_sentence(labels)]
        least = [float(one.min()) for one in sentences.per_sentence(found.confidence)]
        labels[found.confidence < confidence] = NO_LABEL
        by_sentence, kept = sentences.per_sentence(labels), most_confident(types, least, share)
        if all((by_sentence[i] == NO_LABEL).all() for i in kept):
            raise UserError(f"{lang}: no tag of the teacher has a probability of {confidence:g}, so every word would "
                            "be masked; lower the confidence")
        result[lang] = Dataset.from_dict(
            {**rows.select(kept).to_dict(), "ner_tags": [by_sentence[i].tolist() for i in kept]}, rows.features)
    return result


def most_confident(types: Sequence[set[str]], confidence: Sequence[float], share: float) -> list[int]:
    """The numbers of the sentences to keep: of those with each type, and of those without any, this share (rounded, at
    least one) with the highest confidence, of equals the first. A sentence is kept if any of its types keeps it.

    ``most_confident([{"PER"}, {"PER", "LOC"}, set(), set()], [0.9, 0.5, 0.8, 0.7], 0.5) -> [0, 1, 2]``
    """
    of_type: dict[str, list[int]] = {}
    for number, own in enumerate(types):
        for kind in own or {"O"}:
            of_type.setdefault(kind, []).append(number)
    kept = set()
    for numbers in of_type.values():
        best = sorted(numbers, key=lambda number: -confidence[number])
        kept.update(best[: max(1, round(share * len(best)))])
    return sorted(kept)


def amounts(pool: Mapping[str, Dataset], labelled: Mapping[str, Dataset], tags: TagSet) -> dict[str, dict]:
    """For each language: sentences tagged and kept; of the latter, words, masked words, and entities by type."""
    result = {}
    for lang, rows in labelled.items():
        counts = Counter(label for labels in rows["ner_tags"] for label in labels)
        result[lang] = {"tagged": len(pool[lang]), "sentences": len(rows), "words": counts.total(),
                        "masked": counts[NO_LABEL],
                        "entities": {kind: counts[tags.ids[f"B-{kind}"]] for kind in tags.types}}
    return result


def amount_table(found: Mapping[str, dict]) -> str:
    """What `amounts` found, one line per language."""
    lines = [[lang, *(one[name] for name in ("tagged", "sentences", "words", "masked")), *one["entities"].values()]
             for lang, one in found.items()]
    return tabulate(lines, ["lang", "tagged", "kept", "words", "masked", *next(iter(found.values()))["entities"]],
                    "plain")


def write_pseudo(folder: Path, labelled: Mapping[str, Dataset], tags: TagSet, about: dict) -> None:
    """Write the files of all languages to `folder`, completely or not at all. about: what else pseudo.json says."""
    with whole_folder(folder) as new:
        for lang, rows in labelled.items():
            (new / lang).mkdir()
            with open(new / lang / SENTENCES, "w", encoding="utf-8") as file:
                for one in rows:
                    record = {"tokens": one["tokens"], "tags": tags.names_of(one["ner_tags"]), "row": one["row"]}
                    file.write(json.dumps(record, ensure_ascii=False) + "\n")
        sums = {lang: checksum(new / lang / SENTENCES) for lang in labelled}
        text = json.dumps({**about, "checksums": sums}, indent=1, ensure_ascii=False)
        (new / ABOUT).write_text(text + "\n", encoding="utf-8")


def read_about(folder: Path) -> dict:
    """What pseudo.json says; ``UserError`` where it, or a file of its list, is not as it was written."""
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        wrong = [lang for lang, digest in about["checksums"].items() if checksum(folder / lang / SENTENCES) != digest]
        if wrong:
            raise ValueError(f"{wrong[0]}/{SENTENCES} has changed")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{folder}: cannot be read ({error}); remove it to have the sentences tagged again") from None
    return about


def read_pseudo(folder: Path, lang: str, tags: TagSet) -> Dataset:
    """The sentences of one language that `write_pseudo` wrote."""
    with open(folder / lang / SENTENCES, encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    columns = {"tokens": [one["tokens"] for one in records], "ner_tags": [tags.labels(one["tags"]) for one in records],
               "lang": [lang] * len(records), "row": [one["row"] for one in records]}
    return Dataset.from_dict(columns, corpora.features_of(tags))
