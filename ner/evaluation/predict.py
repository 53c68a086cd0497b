"""A corpus and a model -> exactly one tag per word.

Windows are sorted by length, cut into batches of about the same number of slots, and distributed over the processes;
the results are put back by word number. A word answered twice or not at all stops the run: better no score than a wrong
one. Sentences that occur several times are computed once. Tags are chosen for whole sentences, whatever their windows.
"""

from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from ner.data import sampling
from ner.data.alignment import IGNORED, Window
from ner.data.collate import Padding, collate, to_device
from ner.data.encoded import Encoded
from ner.evaluation import decoding
from ner.options import UserError
from ner.tags import TagSet

SLOTS = 4096  # of a batch on a CPU: more fall out of its cache
GPU_SLOTS = 16_384  # with fewer, a GPU waits for the host (an estimate)


class Predictions(NamedTuple):
    """Arrays over all N words of a corpus, in input order."""

    labels: np.ndarray  # (N,) predicted id
    loss: np.ndarray  # (N,) cross-entropy of the gold label, in nats; 0 for a word without annotation
    confidence: np.ndarray  # (N,) probability of the predicted label
    argmax: np.ndarray  # (N,) the most probable label, as without `decode: viterbi`


@torch.no_grad()  # in inference mode, autocast keeps no cast weights
def predict(model, encoded: Encoded, tags: TagSet, padding: Padding, accelerator: Accelerator,
            decode: str = "viterbi", slots: int | None = None) -> Predictions:
    """Predictions of a `TokenClassifier` (unwrapped, as no gradients are exchanged); every process returns all of
    them. decode: the option. slots: of a batch. ``UserError`` if the model returns anything but finite numbers."""
    model.eval()
    starts = np.concatenate([[0], np.cumsum(encoded.lengths)])
    twins = equal_windows(starts[:-1], encoded.windows)
    most = slots or (SLOTS if accelerator.device.type == "cpu" else GPU_SLOTS)
    batches = sampling.token_batches([len(window.input_ids) for (window, _), *_ in twins], most)
    places, rows, row, answers = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0, []
    with accelerator.autocast():  # around all batches, so that weights are cast once
        for part in batches[accelerator.process_index :: accelerator.num_processes]:
            batch = collate([twins[i][0][0] for i in part], padding)
            for number, words in zip(batch["order"], batch["words"], strict=True):
                same, owned = twins[part[number]], np.arange(words)
                places += [start + owned for _, start in same]
                rows += [row + owned] * len(same)
                row += words
            answers.append(answer(model, to_device(batch, accelerator.device)).cpu())
    none = torch.zeros(0, model.config.num_labels)
    mine = (np.concatenate(places), torch.cat([none, *answers]).numpy()[np.concatenate(rows)])
    everyone = gather_object([mine]) if accelerator.num_processes > 1 else [mine]
    log_probabilities = assemble(everyone, int(starts[-1]))
    labels = decoding.decode(log_probabilities, encoded.lengths, tags.names, decode)
    words, known = np.arange(len(labels)), encoded.gold >= 0
    loss = np.where(known, -log_probabilities[words, np.where(known, encoded.gold, 0)], 0)
    found = Predictions(labels, loss, np.exp(log_probabilities[words, labels]), decoding.argmax(log_probabilities))
    broken = np.flatnonzero(~np.isfinite(found.loss + found.confidence))
    if len(broken):
        raise UserError(f"the model's output is not finite for {len(broken)} of {len(found.loss)} words: its weights "
                        f"are damaged or training diverged; use another model or a lower learning_rate")
    return found


def equal_windows(starts: np.ndarray, windows: list[list[Window]]) -> list[list[tuple[Window, int]]]:
    """Windows grouped by equal subwords and words, each with the number of the first word that it owns; `starts`: the
    number of the first word of each sentence."""
    found: dict[tuple[bytes, bytes], list[tuple[Window, int]]] = {}
    for start, sentence in zip(starts.tolist(), windows, strict=True):
        for window in sentence:
            found.setdefault((window.input_ids.tobytes(), (window.labels != IGNORED).tobytes()), []).append(
                (window, start + window.first_word))
    return list(found.values())


def answer(model, batch: dict) -> torch.Tensor:
    """(W, K) log-probabilities of the words that the batch's windows own, in reading order."""
    logits = model(**{**batch, "labels": None}).float()
    return model.classifier.log_probabilities(logits, batch["words"])


def assemble(parts: list[tuple[np.ndarray, np.ndarray]], count: int) -> np.ndarray:
    """(N, K) the answers of all processes, each its words' numbers and log-probabilities, in word order; RuntimeError
    if a word has none or more than one."""
    places = np.concatenate([place for place, _ in parts])
    times = np.bincount(places, minlength=count)
    wrong = np.flatnonzero(times != (np.arange(len(times)) < count))
    if len(wrong):
        raise RuntimeError(f"word {wrong[0]} of {count} was answered {times[wrong[0]]} times; expected each once")
    answers = np.concatenate([answer for _, answer in parts])
    values = np.empty_like(answers)
    values[places] = answers
    return values
