"""Suspicious annotations of the training data, found out of sample.

A model forgives the errors it was trained on. So two runs are trained, each on one half of the training sentences, and
each says of the other half what it would have tagged. Halves go by the hash of the words, so that equal sentences
(PAN-X has many, wrong ones too) never vouch for each other. Trade-off: two halves cost as much as one run on everything
and score every sentence once; more parts would train on more data each, at a multiple of the time.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from accelerate import Accelerator

from ner import experiment
from ner.data import sampling
from ner.evaluation import errors, evaluate
from ner.evaluation.evaluate import Encoded
from ner.evaluation.predict import Predictions, predict
from ner.options import Options, UserError
from ner.training.signals import Stopped

HEADER = ("language", "split", "row", "hash", "confidence", "gold", "suggestion", "words")
WATCHED = 500  # sentences of the other half that are scored after every epoch


class Suspect(NamedTuple):
    """A training sentence whose annotation the model doubts; `confidence` from 0 to 1."""

    lang: str
    row: int
    confidence: float
    gold: list[str]
    suggestion: list[str]
    words: list[str]

    def cells(self) -> tuple:
        return (self.lang, "train", self.row, sampling.sentence_hash(self.words), f"{self.confidence:.6f}",
                " ".join(self.gold), " ".join(self.suggestion), " ".join(self.words))


def find(options: Options, accelerator: Accelerator) -> tuple[list[Suspect], int]:
    """Every training sentence that the model of the other half tags differently, most doubtful first; and the number of
    training sentences. Raises ``UserError`` as a run does."""
    options = replace(options, eval_langs=options.train_langs, validation_langs=None, select="last", patience=None,
                      checkpoint_every="none", push_to_hub=None, resume=False)
    found, count = [], 0
    for half in (0, 1):
        part, predictions, tags = out_of_sample(options, half, accelerator)
        found += suspects(part, predictions, tags.names)
        count += len(part.lengths)
        accelerator.free_memory()
    return sorted(found, key=lambda suspect: -suspect.confidence), count


def out_of_sample(options: Options, half: int, accelerator: Accelerator):
    """The sentences outside of `half`, what a model trained on `half` predicts for them, and the tag set."""
    with tempfile.TemporaryDirectory() as folder:
        state, _, _ = experiment.build(options, Path(folder), accelerator)
        mine = np.array([half_of(words) == half for words in state.training.tokens])
        if mine.all() or not mine.any():
            raise UserError(f"suspects: {len(mine)} training sentences cannot be halved; more would be right")
        rest = evaluate.select(state.training, np.flatnonzero(~mine).tolist())
        state.training = evaluate.select(state.training, np.flatnonzero(mine).tolist())
        state.validation = {"other half": evaluate.first(rest, WATCHED)}
        accelerator.print(f"run {half + 1} of 2: trains on {mine.sum()} sentences, "
                          f"scores the other {len(rest.lengths)}")
        try:
            experiment.train(state, {})
        except Stopped as stop:
            raise Stopped("suspects: stopped; nothing was kept, it begins anew", stop.status) from None
    predictions = predict(state.model, rest.windows, rest.lengths, state.tokenizer.pad_token_id,
                          state.tokenizer.padding_side, accelerator)
    return rest, predictions, state.tags


def half_of(words: list[str]) -> int:
    return int(sampling.sentence_hash(words), 16) % 2


def suspects(part: Encoded, predictions: Predictions, names: Sequence[str]) -> list[Suspect]:
    """Sentences whose predicted tags are not the gold ones.

    The confidence is r / (1 + r), r = probability of the least certain predicted tag / that of the least likely gold
    tag: high where the model is sure of all its tags and of none but them. Share of wrong annotations among the first
    n, with n wrong ones (5 % of the sentences) in the built-in corpus of 10,000 sentences: 91 %; the highest loss finds
    as many, the summed loss 86 %, the mean loss 82 % (`tests/suspects_proof.py`).
    """
    starts = np.concatenate([[0], np.cumsum(part.lengths)])
    likely = np.exp(-predictions.loss.astype(np.float64))
    found = []
    for (lang, row), words, start, end in zip(part.source, part.tokens, starts, starts[1:]):
        gold, suggestion = ([names[label] for label in labels[start:end]] for labels in (part.gold, predictions.labels))
        if gold != suggestion:
            sure, gold_is = predictions.confidence[start:end].min(), likely[start:end].min()
            found.append(Suspect(lang, row, float(sure / (sure + gold_is)), gold, suggestion, words))
    return found


def write(path: Path, found: list[Suspect]) -> None:
    """The table that `sampling.without` reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    errors.write_table(path, HEADER, (suspect.cells() for suspect in found))
