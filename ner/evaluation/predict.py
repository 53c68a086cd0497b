"""A corpus and a model -> exactly one tag per word.

Windows are sorted by length, cut into batches of about the same number of slots, and distributed over the processes;
the results are put back by word number. A word answered twice or not at all stops the run: better no score than a wrong
one. Sentences that occur several times with the same labels are computed once.
"""

from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from ner.data import sampling
from ner.data.alignment import Window
from ner.data.collate import Padding, collate, to_device
from ner.data.encoded import Encoded
from ner.options import UserError

SLOTS = 4096  # more gain nothing on a CPU (they fall out of its cache) and little on a GPU


class Predictions(NamedTuple):
    """Arrays over all N words of a corpus, in input order."""

    labels: np.ndarray  # (N,) predicted id
    loss: np.ndarray  # (N,) cross-entropy of the gold label, in nats; 0 for a word without annotation
    confidence: np.ndarray  # (N,) probability of the predicted label


@torch.inference_mode()
def predict(model, encoded: Encoded, padding: Padding, accelerator: Accelerator, slots: int = SLOTS) -> Predictions:
    """Predictions of a `TokenClassifier` (unwrapped, as no gradients are exchanged); every process returns all of
    them. ``UserError`` if the model returns anything but finite numbers."""
    model.eval()
    starts = np.concatenate([[0], np.cumsum(encoded.lengths)])
    twins = equal_windows(starts[:-1], encoded.windows)
    batches = sampling.token_batches([len(window.input_ids) for (window, _), *_ in twins], slots)
    places, columns, column, answers = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0, [torch.zeros(3, 0)]
    for part in batches[accelerator.process_index :: accelerator.num_processes]:
        batch = collate([twins[i][0][0] for i in part], padding)
        for row, words in zip(batch["order"], batch["words"], strict=True):
            same, owned = twins[part[row]], np.arange(words)
            places += [start + owned for _, start in same]
            columns += [column + owned] * len(same)
            column += words
        answers.append(answer(model, to_device(batch, accelerator.device)))
    mine = (np.concatenate(places), torch.cat([part.cpu() for part in answers], 1).numpy()[:, np.concatenate(columns)])
    everyone = gather_object([mine]) if accelerator.num_processes > 1 else [mine]
    found = assemble(everyone, int(starts[-1]))
    found.loss[encoded.gold < 0] = 0
    broken = np.flatnonzero(~np.isfinite(found.loss + found.confidence))
    if len(broken):
        raise UserError(f"the model's output is not finite for {len(broken)} of {len(found.loss)} words: its weights "
                        f"are damaged or training diverged; use another model or a lower learning_rate")
    return found


def equal_windows(starts: np.ndarray, windows: list[list[Window]]) -> list[list[tuple[Window, int]]]:
    """Windows grouped by equal subwords and labels, each with the number of the first word that it owns; `starts`: the
    number of the first word of each sentence."""
    found: dict[tuple[bytes, bytes], list[tuple[Window, int]]] = {}
    for start, sentence in zip(starts.tolist(), windows, strict=True):
        for window in sentence:
            found.setdefault((window.input_ids.tobytes(), window.labels.tobytes()), []).append(
                (window, start + window.first_word))
    return list(found.values())


def answer(model, batch: dict) -> torch.Tensor:
    """(3, words) label, loss and confidence of the words that the batch's windows own, in reading order."""
    gold = batch["labels"].flatten()[batch["slots"]][batch["wanted"]]
    logits = model(**{**batch, "labels": None}).float()
    label, confidence = model.classifier.decode(logits, batch["words"])
    return torch.stack([label.float(), model.classifier.word_losses(logits, gold, batch["words"]), confidence])


def assemble(parts: list[tuple[np.ndarray, np.ndarray]], count: int) -> Predictions:
    """The answers of all processes in word order; RuntimeError if a word has none or more than one."""
    places = np.concatenate([place for place, _ in parts])
    times = np.bincount(places, minlength=count)
    wrong = np.flatnonzero(times != (np.arange(len(times)) < count))
    if len(wrong):
        raise RuntimeError(f"word {wrong[0]} of {count} was answered {times[wrong[0]]} times; expected each once")
    values = np.empty((3, count), np.float32)
    values[:, places] = np.concatenate([answers for _, answers in parts], 1)
    return Predictions(values[0].astype(np.int64), values[1], values[2])
