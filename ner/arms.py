"""The arms of the benchmark (ner/benchmark.py), each in its own process.

An arm reports to its parent and waits after each report for its next turn: first a dict about itself, then a `Step` per
training step, then the sentences/s of each evaluation. It ends when its parent closes the pipe or dies.

Every arm imports what it needs by itself, so that its memory does not include the imports of another.
"""

import collections
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ner.options import Options, UserError, resolve

EVALUATIONS = 3


class Step(NamedTuple):
    """An arm's report on one training step."""

    seconds: float
    lengths: list[int]  # real tokens per window
    slots: int  # of the padded batch
    words: int  # labelled
    memory: float  # peak of the process so far, in MiB


def options_of(args, fraction: float = 0.629, **more) -> Options:
    data = {"data_dir": args.data_dir, "fractions": {"de": fraction}} if args.data_dir else {}
    size = {"num_train_sentences": args.sentences} if args.sentences else {}
    return resolve({**data, **size, "train_langs": ["de"], "eval_langs": ["de"], "model": args.model,
                    "batch_size": args.batch_size, "max_length": args.subwords or 512, "checkpoint_every": "none",
                    "decode": "argmax", "epochs": args.steps, "max_steps": args.steps, **more})


def ours(args, report) -> None:
    """Training steps and evaluation of this project, timed from outside."""
    from accelerate import Accelerator

    from ner.data import encoded
    from ner.evaluation.predict import predict
    from ner.experiment import experiment
    from ner.training import loop, machine

    accelerator = Accelerator()
    state = experiment.build(options_of(args), Path("unused"), accelerator)
    if args.subwords:
        state.training = glued(state.training, args.subwords)
    test = state.test["de"]
    test = encoded.first(test, args.eval_sentences or len(test.tokens))
    config = state.config
    report({"rows": len(state.vocabulary_rows),
            "shape": [config.num_hidden_layers, config.hidden_size, config.intermediate_size]})
    steps = loop.steps(state.model, state.optimizer, state.training, state.padding, state.options, accelerator,
                       state.progress, lambda: False)
    for _ in range(args.steps):
        started = time.perf_counter()
        next(steps)
        seconds = time.perf_counter() - started
        (batch,), labelled = loop.step_batches(state.training, state.padding, state.progress.step - 1, state.options,
                                               0, 1)
        report(Step(seconds, batch["lengths"], batch["input_ids"].numel(), labelled,
                    machine.peak_memory_mib(accelerator.device)))
    for _ in range(EVALUATIONS):
        started = time.perf_counter()
        predict(state.bare, test, state.tags, state.padding, accelerator, state.options.decode)
        report(len(test.tokens) / (time.perf_counter() - started))


def glued(training, subwords: int):
    """Sentences of exactly `subwords`, made by joining neighbours: same words, other lengths."""
    import numpy as np

    windows = [window for sentence in training.windows for window in sentence]
    ids, labels = (np.concatenate([getattr(w, name)[1:-1] for w in windows]) for name in ("input_ids", "labels"))
    ends = [(getattr(windows[0], name)[:1], getattr(windows[0], name)[-1:]) for name in ("input_ids", "labels")]
    inner = subwords - 2
    parts = range(0, len(ids) - inner + 1, inner)
    glued = [[windows[0]._replace(input_ids=np.concatenate([ends[0][0], ids[i : i + inner], ends[0][1]]),
                                  labels=np.concatenate([ends[1][0], labels[i : i + inner], ends[1][1]]))]
             for i in parts]
    return training._replace(windows=glued, tokens=[["?"]] * len(glued))


def peer_of(args, folder: str, collated: Callable[[dict], dict], callback, grouped: bool, **settings):
    """A ``transformers.Trainer`` with its defaults but for `settings`, to train on the same windows, and those of the
    test set. collated: called with each of its batches. callback: a ``TrainerCallback``."""
    from datasets import Dataset
    from transformers import (
        AutoModelForTokenClassification,
        AutoTokenizer,
        DataCollatorForTokenClassification,
        Trainer,
        TrainingArguments,
    )

    from ner.data import corpora, encoded, sampling
    from ner.model import pretrained

    options = options_of(args)
    source = pretrained.folder_of(options.model)
    tokenizer = AutoTokenizer.from_pretrained(source)
    corpus, tags = corpora.load(options)

    def rows(dataset) -> Dataset:
        windows = encoded.encode(dataset, tokenizer, options.max_length).windows
        return Dataset.from_list([{"input_ids": w.input_ids.tolist(), "attention_mask": [1] * len(w.input_ids),
                                   "labels": w.labels.tolist()} for sentence in windows for w in sentence])

    pad = DataCollatorForTokenClassification(tokenizer)
    model = AutoModelForTokenClassification.from_pretrained(source, num_labels=len(tags.names))
    all_settings = {"max_steps": args.steps, "per_device_train_batch_size": args.batch_size,
                    "per_device_eval_batch_size": args.batch_size, "weight_decay": 0.01, "save_strategy": "no",
                    "report_to": [], "disable_tqdm": True,
                    "train_sampling_strategy": "group_by_length" if grouped else "random"}
    training = rows(sampling.training_set(corpus["train"], options.num_train_sentences))
    test = corpus["test"]["de"]
    return Trainer(model, TrainingArguments(folder, **all_settings | settings), train_dataset=training,
                   data_collator=lambda features: collated(pad(features)), callbacks=[callback]
                   ), rows(test.select(range(len(test))[: args.eval_sentences]))


def trainer(args, report, grouped: bool) -> None:
    """The same with ``transformers.Trainer`` and its defaults, on the same windows."""
    from transformers import TrainerCallback

    from ner.training import machine

    fetched: collections.deque[tuple[list[int], int, int]] = collections.deque()  # its loader is one batch ahead
    started: list[float] = []

    class Turns(TrainerCallback):
        def on_train_begin(self, *_, **__):
            report({})

        def on_step_begin(self, *_, **__):
            started.append(time.perf_counter())

        def on_step_end(self, *_, **__):
            seconds = time.perf_counter() - started[-1]
            report(Step(seconds, *fetched.popleft(), machine.peak_memory_mib(peer.args.device)))

    def collated(batch: dict) -> dict:
        fetched.append((batch["attention_mask"].sum(1).tolist(), batch["input_ids"].numel(),
                        int((batch["labels"] != -100).sum())))
        return batch

    with tempfile.TemporaryDirectory() as folder:
        peer, test = peer_of(args, folder, collated, Turns(), grouped)
        peer.train()
        for _ in range(EVALUATIONS):
            before = time.perf_counter()
            peer.predict(test)
            report(len(test) / (time.perf_counter() - before))


def end_with_parent() -> None:
    """End this process when its parent dies, even within a step: with large batches a step takes minutes."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "an arm is started by another process"

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


RUNS: dict[str, Callable] = {"ours": ours, "trainer": partial(trainer, grouped=False),
                             "grouped": partial(trainer, grouped=True)}


def serve(run: Callable, args, pipe) -> None:
    """Run an arm: send its reports, and wait for its turn after each."""

    def report(result) -> None:
        try:
            pipe.send(result)
            pipe.recv()
        except (EOFError, ConnectionError):
            sys.exit()  # nobody is listening any more

    sys.stdout = sys.stderr  # standard output is for the table only
    end_with_parent()
    try:
        run(args, report)
    except UserError as error:
        pipe.send(error)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
