"""Suspicious annotations in the training data, found by models that were not trained on them.

A model learns the errors it was trained on. So two runs are trained, each on one half of the training sentences, and
each tags the other half. Sentences are assigned by the hash of their words, so that equal ones (PAN-X has many, with
errors, too) never confirm each other. Two halves cost as much as one run on all of the data; more parts would give each
run more data, at a multiple of the time.
"""

import math
import tempfile
from collections import Counter
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

# Options without effect here, because only the suspects are kept; nor have eval_langs, output_dir and public any.
FIXED: dict[str, Any] = {"validation_langs": None, "select": "last", "patience": None, "checkpoint_every": "none",
                         "push_to_hub": None, "resume": False, "average": "none", "average_from": 0.3,
                         "teacher": None, "pseudo_langs": None, "pseudo_confidence": 0.0, "pseudo_share": 1.0}
WATCHED = 500  # sentences of the other half that are scored after every epoch


class Suspect(NamedTuple):
    """A training sentence whose annotation the model doubts; `confidence` is from 0 to 1."""

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
        raise UserError(f"--{min(given)}: has no effect on suspects, which only writes its --output; remove it")


def find(options: Options, accelerator: Accelerator) -> tuple[list[Suspect], int]:
    """The training sentences that the model of the other half tags differently, most doubtful first, and the number of
    all training sentences. Those that were divided are left out. Raises ``UserError`` like a run."""
    options = replace(options, eval_langs=options.train_langs, **FIXED)
    found, parts_of = [], Counter[tuple[str, int]]()
    for half in (0, 1):
        part, predictions, tags = out_of_sample(options, half, accelerator)
        found += suspects(sentences(part, predictions, tags))
        parts_of.update(part.source)
        accelerator.free_memory()
    # what is only a part of a sentence (see `encoded.in_windows`) cannot be left out of training
    whole = [suspect for suspect in found if parts_of[suspect.sentence.lang, suspect.sentence.row] == 1]
    return sorted(whole, key=lambda suspect: -suspect.confidence), len(parts_of)


def out_of_sample(options: Options, half: int, accelerator: Accelerator) -> tuple[Encoded, Predictions, TagSet]:
    """The sentences outside `half`, the predictions of a model trained on `half`, and the tag set."""
    with tempfile.TemporaryDirectory() as folder:
        state = experiment.build(options, Path(folder), accelerator)
        mine = np.array([half_of(words) == half for words in state.training.tokens])
        if mine.all() or not mine.any():
            raise UserError(f"suspects: {len(mine)} training sentences cannot be split in half; use more")
        rest = encoded.select(state.training, np.flatnonzero(~mine).tolist())
        state.training = encoded.select(state.training, np.flatnonzero(mine).tolist())
        state.validation = {"other half": encoded.first(rest, WATCHED)}
        accelerator.print(f"run {half + 1} of 2: training on {mine.sum()} sentences, "
                          f"scoring the other {len(rest.tokens)}")
        try:
            experiment.train(state, keep=False)
        except Stopped as stop:
            raise Stopped("suspects: stopped; nothing was saved, start again", stop.status) from None
    return rest, predict(state.bare, rest, state.tags, state.padding, accelerator, options.decode), state.tags


def half_of(words: list[str]) -> int:
    return int(exclude.sentence_hash(words), 16) % 2


def suspects(tagged: Iterable[TaggedSentence]) -> list[Suspect]:
    """Sentences whose predicted tags differ from the gold ones.

    The confidence is r / (1 + r), with r = probability of the least certain predicted tag / that of the least likely
    gold tag: high if the model is sure of all its tags and considers a gold tag unlikely. With n wrong annotations (5 %
    of the sentences) in 10,000 built-in ones, 91 % of the first n suspects are wrong. Ranking by highest loss finds as
    many, by summed loss 86 %, by mean loss 82 % (`tests/proofs/suspects.py`).
    """
    found = []
    for one in tagged:
        known = annotated(one)
        if known.gold != known.predicted:
            sure, gold_is = min(known.confidence), math.exp(-max(known.loss))
            found.append(Suspect(one, sure / (sure + gold_is)))
    return found


def write_suspects(path: Path, found: list[Suspect]) -> None:
    """Write the file that ``train.py --exclude`` reads."""
    exclude.write_exclusions(path, (suspect.cells() for suspect in found))
