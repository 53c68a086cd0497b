"""Suspicious annotations of the training data, found out of sample.

A model forgives the errors it was trained on. So two runs are trained, each on one half of the training sentences, and
each says of the other half what it would have tagged. Halves go by the hash of the words, so that equal sentences
(PAN-X has many, wrong ones too) never vouch for each other. Trade-off: two halves cost as much as one run on everything
and score every sentence once; more parts would train on more data each, at a multiple of the time.
"""

import math
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from accelerate import Accelerator

from ner.data import encoded, exclude
from ner.data.encoded import Encoded
from ner.evaluation.predict import Predictions, predict
from ner.evaluation.predictions import TaggedSentence, annotated, sentences
from ner.experiment import experiment
from ner.options import Options, UserError
from ner.tags import TagSet
from ner.training.signals import Stopped

# Options that mean nothing here, since nothing is kept but the suspects; so do eval_langs, output_dir and public.
FIXED: dict[str, Any] = {"validation_langs": None, "select": "last", "patience": None, "checkpoint_every": "none",
                         "push_to_hub": None, "resume": False}
WATCHED = 500  # sentences of the other half that are scored after every epoch


class Suspect(NamedTuple):
    """A training sentence whose annotation the model doubts; `confidence` from 0 to 1."""

    sentence: TaggedSentence
    confidence: float

    def cells(self) -> tuple:
        one = self.sentence
        return (one.lang, "train", one.row, exclude.sentence_hash(one.words), f"{self.confidence:.6f}",
                " ".join(one.gold), " ".join(one.predicted), " ".join(one.words))


def check_arguments(words: Sequence[str]) -> None:
    """``UserError`` for options of train.py that would have no effect."""
    without_effect = {*FIXED, "eval_langs", "output_dir", "public"}
    if given := without_effect & {word[2:].split("=")[0] for word in words if word.startswith("--")}:
        raise UserError(f"--{min(given)}: means nothing to suspects, which keeps nothing but its --output")


def check_output(path: Path) -> None:
    """``UserError`` where it cannot be written: better now than after two trainings."""
    if path.is_file() or path.is_dir():
        raise UserError(f"{path}: is there already, perhaps with marks of yours; name another --output")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise UserError(f"{path}: {above} is no folder that can be written to; name another --output")


def find(options: Options, accelerator: Accelerator) -> tuple[list[Suspect], int]:
    """Every training sentence that the model of the other half tags differently, most doubtful first; and the number of
    training sentences. Raises ``UserError`` as a run does."""
    options = replace(options, eval_langs=options.train_langs, **FIXED)
    found, count = [], 0
    for half in (0, 1):
        part, predictions, tags = out_of_sample(options, half, accelerator)
        found += suspects(sentences(part, predictions, tags))
        count += len(part.tokens)
        accelerator.free_memory()
    return sorted(found, key=lambda suspect: -suspect.confidence), count


def out_of_sample(options: Options, half: int, accelerator: Accelerator) -> tuple[Encoded, Predictions, TagSet]:
    """The sentences outside of `half`, what a model trained on `half` predicts for them, and the tag set."""
    with tempfile.TemporaryDirectory() as folder:
        state = experiment.build(options, Path(folder), accelerator)
        mine = np.array([half_of(words) == half for words in state.training.tokens])
        if mine.all() or not mine.any():
            raise UserError(f"suspects: {len(mine)} training sentences cannot be halved; more would be right")
        rest = encoded.select(state.training, np.flatnonzero(~mine).tolist())
        state.training = encoded.select(state.training, np.flatnonzero(mine).tolist())
        state.validation = {"other half": encoded.first(rest, WATCHED)}
        accelerator.print(f"run {half + 1} of 2: trains on {mine.sum()} sentences, "
                          f"scores the other {len(rest.tokens)}")
        try:
            experiment.train(state, keep=False)
        except Stopped as stop:
            raise Stopped("suspects: stopped; nothing was kept, it begins anew", stop.status) from None
    return rest, predict(state.bare, rest, state.padding, accelerator), state.tags


def half_of(words: list[str]) -> int:
    return int(exclude.sentence_hash(words), 16) % 2


def suspects(tagged: Iterable[TaggedSentence]) -> list[Suspect]:
    """Sentences whose predicted tags are not the gold ones.

    The confidence is r / (1 + r), r = probability of the least certain predicted tag / that of the least likely gold
    tag: high where the model is sure of all its tags and of none but them. Share of wrong annotations among the first
    n, with n wrong ones (5 % of the sentences) in the built-in corpus of 10,000 sentences: 91 %; the highest loss finds
    as many, the summed loss 86 %, the mean loss 82 % (`tests/proofs/suspects.py`).
    """
    found = []
    for one in tagged:
        known = annotated(one)
        if known.gold != known.predicted:
            sure, gold_is = min(known.confidence), math.exp(-max(known.loss))
            found.append(Suspect(one, sure / (sure + gold_is)))
    return found


def write_suspects(path: Path, found: list[Suspect]) -> None:
    """As ``train.py --exclude`` reads it."""
    exclude.write_exclusions(path, (suspect.cells() for suspect in found))
