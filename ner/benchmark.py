"""The figures that README quotes, measured: ``python -m ner.benchmark [--data_dir DIR]``.

Three arms do the same job with the same encoder, sentences and threads: this project, ``transformers.Trainer``, and the
Trainer with ``group_by_length``. Each arm is a fresh process, because the peak memory of a process never falls, and all
three live at once (16 GB with the built-in encoder), so that they can take turns of five steps: the speed of a shared
machine drifts by a fifth within hours and falls on all alike. Its own matrix-multiply rate is measured between the
turns. Ratios hold within one run; times of two runs do not compare.

A rate is the total over an arm's steps but the first three: sentences, or real tokens, by seconds. The grouped Trainer
sorts 50 batches at a time, longest first, so 50 steps are kept, in which it meets every length as the other arms do. A
median step of it is one of its short ones, and its first 20 are only its long ones: both are printed, too
(``median_ratio_*``, ``first_20_*``), and neither is its speed. What bounds the ratio to it: the linear maps alone are
75 to 80 % of our step, so that a step of nothing else would be 1.7 to 1.8 times as fast as the grouped Trainer's mean
one. Evaluation is the whole test set, the median of three: 3.7 times ``Trainer.predict``; the run before, a total of
two, said 3.4.

FLOPs of a step count what has to be computed: 3 * 2 * (layers * sum over real tokens of (4 H^2 + 2 H I + 2 n H) - sum
over tokens without a label of (H^2 + 2 H I)), with I the intermediate size and n the length of the token's own window:
padding is none of it, nor what lies behind the last attention of a token whose logits nobody wants. A backward pass
costs two forward ones; embeddings and head count nothing.

How cost grows (``--scale --steps 23``; 7 steps for sentences of one length): 1,000, 4,000 and 12,580 sentences take
1,857, 1,848 and 1,976 MiB at 54 to 59 sentences/s; sentences of 16, 64 and 256 subwords 1,073, 1,096 and 690 real
tokens/s (attention is quadratic in them) and, in batches of 32, 1,830, 2,214 and 7,074 MiB.

Nobody slowed the peers: in their first 20 steps, the arms' Trainers made 13.3 and 25.2 (grouped) sentences/s; the
stock Hugging Face script on the same job, 20 steps alone on the machine right after, 12.6 and 25.6. (In that measure,
ours made 57.4.)

What it costs in F1 (configs/same-result.yaml: 100 steps of 16 on 2,000 German sentences, 1,000 to test): without
dropout nothing, padded attention with the whole table and the defaults give the same tag to 9,934 of 9,934 words. With
dropout, which draws other numbers, three seeds each: 59.8, 60.4, 62.9 by the defaults and 61.6, 57.0, 63.1 the plain
way, a difference of +0.5 points; its 95 % interval is -0.6 to +1.5 over test sentences with these seeds, and -6.1 to
+7.0 over seeds (Welch), whose standard deviation is 1.6 and 3.2 points.
"""

import argparse
import collections
import json
import multiprocessing
import os
import signal
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from ner.options import UserError, resolve

ARMS = ("ours", "trainer", "grouped")
DROPPED = 3  # steps at the start, in which memory is first touched
TURN = 5  # steps; the first of a turn finds cold caches and is a few per cent slower
EVALUATIONS = 3
SCALE_SENTENCES, SCALE_SUBWORDS = (1_000, 4_000, 12_580), (16, 64, 256)


class Step(NamedTuple):
    """What an arm reports of a training step."""

    seconds: float
    lengths: list[int]  # real tokens of every window
    slots: int  # of the padded batch
    words: int  # labelled
    memory: float  # peak of the process so far, in MiB


def options_of(args):
    data = {"data_dir": args.data_dir, "fractions": {"de": 0.629}} if args.data_dir else {}
    size = {"num_train_sentences": args.sentences} if args.sentences else {}
    return resolve({**data, **size, "train_langs": ["de"], "eval_langs": ["de"], "model": args.model,
                    "batch_size": args.batch_size, "max_length": args.subwords or 512, "checkpoint_every": "none",
                    "epochs": args.steps, "max_steps": args.steps})


def ours(args, report) -> None:
    """Steps and evaluation of this project: the real pieces, timed from outside."""
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
        predict(state.bare, test, state.padding, accelerator)
        report(len(test.tokens) / (time.perf_counter() - started))


def glued(training, subwords: int):
    """Sentences of exactly `subwords`, from neighbouring ones put together: same words, another length."""
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


def trainer(args, report, grouped: bool) -> None:
    """The same with ``transformers.Trainer`` and its defaults, on the same windows."""
    from datasets import Dataset
    from transformers import (
        AutoModelForTokenClassification,
        AutoTokenizer,
        DataCollatorForTokenClassification,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    from ner.data import corpora, encoded, sampling
    from ner.model import pretrained
    from ner.training import machine

    options = options_of(args)
    source = pretrained.folder_of(options.model)
    tokenizer = AutoTokenizer.from_pretrained(source)
    corpus, tags = corpora.load(options)

    def rows(dataset) -> Dataset:
        windows = encoded.encode(dataset, tokenizer, options.max_length).windows
        return Dataset.from_list([{"input_ids": w.input_ids.tolist(), "attention_mask": [1] * len(w.input_ids),
                                   "labels": w.labels.tolist()} for sentence in windows for w in sentence])

    fetched: collections.deque[tuple[list[int], int, int]] = collections.deque()  # its loader is a batch ahead
    started: list[float] = []

    class Turns(TrainerCallback):
        def on_train_begin(self, *_, **__):
            report({})

        def on_step_begin(self, *_, **__):
            started.append(time.perf_counter())

        def on_step_end(self, *_, **__):
            seconds = time.perf_counter() - started[-1]
            report(Step(seconds, *fetched.popleft(), machine.peak_memory_mib(peer.args.device)))

    pad = DataCollatorForTokenClassification(tokenizer)

    def collate(features):
        batch = pad(features)
        fetched.append((batch["attention_mask"].sum(1).tolist(), batch["input_ids"].numel(),
                        int((batch["labels"] != -100).sum())))
        return batch

    model = AutoModelForTokenClassification.from_pretrained(source, num_labels=len(tags.names))
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder, max_steps=args.steps, per_device_train_batch_size=args.batch_size,
            per_device_eval_batch_size=args.batch_size, weight_decay=0.01, save_strategy="no", report_to=[],
            disable_tqdm=True,
            train_sampling_strategy="group_by_length" if grouped else "random")
        training = rows(sampling.training_set(corpus["train"], options.num_train_sentences))
        peer = Trainer(model, settings, train_dataset=training, data_collator=collate, callbacks=[Turns()])
        test = corpus["test"]["de"]
        test = rows(test.select(range(len(test))[: args.eval_sentences]))
        peer.train()
        for _ in range(EVALUATIONS):
            before = time.perf_counter()
            peer.predict(test)
            report(len(test) / (time.perf_counter() - before))


def gemm_rate() -> float:
    """FLOP/s of a 1024 x 1024 fp32 matrix product: the median of five times five."""
    import torch

    a, b = torch.randn(2, 1024, 1024)
    rates = []
    for _ in range(6):
        started = time.perf_counter()
        for _ in range(5):
            a @ b
        rates.append(5 * 2 * 1024**3 / (time.perf_counter() - started))
    return statistics.median(rates[1:])


def flops(lengths: list[int], words: int, layers: int, hidden: int, intermediate: int) -> int:
    """Of one training step on windows of `lengths` tokens, `words` of them labelled."""
    body = sum(layers * n * (4 * hidden**2 + 2 * hidden * intermediate + 2 * n * hidden) for n in lengths)
    return 6 * (body - (sum(lengths) - words) * (hidden**2 + 2 * hidden * intermediate))


def rate_of(steps: list[Step]) -> float:
    """Sentences/s, as totals."""
    return sum(len(step.lengths) for step in steps) / sum(step.seconds for step in steps)


def figures(steps: list[Step], evaluations: list[float]) -> dict:
    """Of an arm: totals over its steps but the first ones, with the median step beside them; the median evaluation."""
    kept = steps[DROPPED:]
    tokens = sum(sum(step.lengths) for step in kept)
    return {"sentences/s": rate_of(kept), "median": statistics.median(rate_of([step]) for step in kept),
            "tokens/s": tokens / sum(step.seconds for step in kept), "evaluation": statistics.median(evaluations),
            "memory MiB": steps[-1].memory, "padding": 1 - tokens / sum(step.slots for step in kept)}


def serve(arm: str, args, pipe) -> None:
    """The life of an arm's process: whatever it reports is sent, and it goes on when its turn comes."""

    def report(result) -> None:
        try:
            pipe.send(result)
            pipe.recv()
        except (EOFError, ConnectionError):
            sys.exit()  # nobody is listening any more

    sys.stdout = sys.stderr  # the table alone goes to standard output
    try:
        if arm == "ours":
            ours(args, report)
        else:
            trainer(args, report, arm == "grouped")
    except UserError as error:
        pipe.send(error)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


@contextmanager
def process(arm: str, args):
    """An arm in a fresh process: its first report, and a function that gives it a turn and returns what it reports."""
    context = multiprocessing.get_context("spawn")
    pipe, its = context.Pipe()
    worker = context.Process(target=serve, args=(arm, args, its))
    worker.start()
    its.close()  # so that a process that dies ends the waiting for it

    def next_report():
        try:
            result = pipe.recv()
        except (EOFError, ConnectionError):
            worker.join()
            raise UserError(f"{arm}: its process died with status {worker.exitcode}; "
                            f"what it said stands above") from None
        if isinstance(result, UserError):
            raise result
        return result

    def turn():
        with suppress(ConnectionError):  # a process that died is found out in the next line
            pipe.send(None)
        return next_report()

    try:
        yield next_report(), turn
    finally:
        pipe.close()
        worker.join()


def compare(args) -> dict:
    """All arms in turn, a few steps each; the table, and the ratios."""
    steps: dict[str, list[Step]] = {arm: [] for arm in ARMS}
    evaluations: dict[str, list[float]] = {arm: [] for arm in ARMS}
    rates, shares = [], []
    with process("ours", args) as (about, ours), process("trainer", args) as (_, stock), \
            process("grouped", args) as (_, grouped):
        turns = dict(zip(ARMS, (ours, stock, grouped), strict=True))
        for first in range(0, args.steps, TURN):
            before = gemm_rate()
            for arm, turn in turns.items():
                steps[arm] += [turn() for _ in range(min(TURN, args.steps - first))]
                rates.append(gemm_rate())
            rate = (before + rates[-len(ARMS)]) / 2  # around our own steps
            shares += [flops(step.lengths, step.words, *about["shape"]) / step.seconds / rate
                       for step in steps["ours"][first:]]
        for _ in range(EVALUATIONS):
            for arm, turn in turns.items():
                evaluations[arm].append(turn())
    table = {arm: figures(steps[arm], evaluations[arm]) for arm in ARMS}
    print(f"{'':<10}{'sentences/s':>13}{'median':>8}{'tokens/s':>10}{'evaluation':>12}{'memory MiB':>12}{'padding':>9}")
    for arm, row in table.items():
        print(f"{arm:<10}{row['sentences/s']:>13.1f}{row['median']:>8.1f}{row['tokens/s']:>10.0f}"
              f"{row['evaluation']:>12.1f}{row['memory MiB']:>12.0f}{row['padding']:>9.0%}")
    print("'median' and 'evaluation' are sentences/s, too; 'padding' is what an arm's batches hold (ours computes none "
          f"of it); table of {about['rows']} rows\n"
          f"this machine multiplies fp32 matrices at {statistics.median(rates) / 1e9:.0f} GFLOP/s "
          f"({min(rates) / 1e9:.0f} to {max(rates) / 1e9:.0f} between the turns)\n"
          "FLOPs of a step: 6 * (layers * sum over real tokens of (4 H^2 + 2 H I + 2 n H) "
          "- tokens without a label * (H^2 + 2 H I))")

    def ratio(column: str, peer: str) -> float:
        return table["ours"][column] / table[peer][column]

    result = {
        "train_ratio_trainer": ratio("sentences/s", "trainer"), "train_ratio_grouped": ratio("sentences/s", "grouped"),
        "eval_ratio_trainer": ratio("evaluation", "trainer"), "memory_ratio_trainer": ratio("memory MiB", "trainer"),
        "gemm_share": statistics.median(shares[DROPPED:]), "median_ratio_trainer": ratio("median", "trainer"),
        "median_ratio_grouped": ratio("median", "grouped"), "steps": args.steps,
        **{f"first_20_{arm}": rate_of(steps[arm][:20]) for arm in ARMS}}
    return {name: round(value, 3) for name, value in result.items()}


def scale(args) -> dict:
    """How speed and memory grow with the number of sentences and with their length."""
    result = {}
    print(f"{'':<20}{'sentences/s':>13}{'tokens/s':>10}{'memory MiB':>12}{'rows':>9}")
    sizes = [(f"{n} sentences", {"sentences": n}) for n in SCALE_SENTENCES]
    lengths = [(f"{n} subwords", {"sentences": 4_000, "subwords": n, "steps": DROPPED + 4, "batch_size": 32})
               for n in SCALE_SUBWORDS]
    for name, changes in sizes + lengths:
        changed = argparse.Namespace(**{**vars(args), "eval_sentences": 1, **changes})
        with process("ours", changed) as (about, turn):
            row = figures([turn() for _ in range(changed.steps)], [turn()])
        print(f"{name:<20}{row['sentences/s']:>13.1f}{row['tokens/s']:>10.0f}{row['memory MiB']:>12.0f}"
              f"{about['rows']:>9}", flush=True)
        result[name] = {"sentences_per_second": row["sentences/s"], "memory_mib": row["memory MiB"],
                        "rows": about["rows"]}
    return result


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m ner.benchmark", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", help="PAN-X folder; without it the built-in corpus")
    parser.add_argument("--model", default="e5-small", help="encoder [e5-small]")
    parser.add_argument("--steps", type=int, default=53, help="optimizer steps an arm, the first 3 dropped [53]")
    parser.add_argument("--batch_size", type=int, default=64, help="sentences a step [64]")
    parser.add_argument("--eval_sentences", type=int, help="sentences to predict, three times [all of the test set]")
    parser.add_argument("--sentences", type=int, help="training sentences to choose from [all]")
    parser.add_argument("--scale", action="store_true", help="growth with sentences and lengths instead of the peers")
    args = parser.parse_args(argv, argparse.Namespace(subwords=None))
    if args.steps <= DROPPED:
        parser.error(f"--steps: expected more than {DROPPED}, found {args.steps}")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        print(json.dumps((scale if args.scale else compare)(args)))
    except UserError as error:
        print(f"ner.benchmark: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ner.benchmark: stopped", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
