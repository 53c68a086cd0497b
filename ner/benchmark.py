"""The figures that README quotes, measured: ``python -m ner.benchmark [--data_dir DIR]``.

Three arms do the same job with the same encoder, sentences and threads: this project, ``transformers.Trainer``, and the
Trainer with ``group_by_length``. Each arm is a fresh process, because the peak memory of a process never falls; the
arms take turns, and the machine's own matrix-multiply rate is measured between them. Ratios hold within one run; times
of two runs on a shared machine do not compare.

A rate is the total over an arm's steps but the first three: sentences, or real tokens, by seconds. The grouped Trainer
sorts 50 batches at a time, longest first, so 50 steps are kept, in which it meets every length as the other arms do; a
median step of it would be one of its short ones, and its first 20 or 30 only its long ones.

FLOPs of a step count what has to be computed: 3 * 2 * (layers * sum over real tokens of (4 H^2 + 2 H I + 2 n H) - sum
over tokens without a label of (H^2 + 2 H I)), with I the intermediate size and n the length of the token's own window:
padding is none of it, nor what lies behind the last attention of a token whose logits nobody wants. A backward pass
costs two forward ones; embeddings and head count nothing.

How cost grows (``--scale --steps 23``; 7 steps for sentences of one length): 1,000, 4,000 and 12,580 sentences take
1,836, 1,857 and 1,976 MiB at 44 to 47 sentences/s; sentences of 16, 64 and 256 subwords 846, 763 and 585 real tokens/s
(attention is quadratic in them) and, in batches of 32, 1,830, 2,348 and 8,512 MiB.

Nobody slowed the peers: the stock Hugging Face script on the same job, run right after these arms, said 12.7
sentences/s (20 steps) and 32.4 grouped (53 steps) where the arms' own Trainers said 12.9 and 29.5.

What it costs in F1 (configs/same-result.yaml: 100 steps of 16 on 2,000 German sentences, 1,000 to test): without
dropout nothing, padded attention with the whole table and the defaults give the same tag to 9,934 of 9,934 words. With
dropout, which draws other numbers, three seeds each: 60.2, 58.5, 63.1 by the defaults and 61.5, 60.7, 62.5 the plain
way, a difference of -1.0 points; its 95 % interval is -1.9 to -0.1 over test sentences with these seeds, and -5.9 to
+4.0 over seeds (Welch), whose standard deviation is 2.3 and 0.9 points.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ARMS = ("ours", "trainer", "grouped")
DROPPED = 3  # steps at the start, in which memory is first touched
SCALE_SENTENCES, SCALE_SUBWORDS = (1_000, 4_000, 12_580), (16, 64, 256)


def options_of(args):
    from ner.options import resolve

    data = {"data_dir": args.data_dir, "fractions": {"de": 0.629}} if args.data_dir else {}
    size = {"num_train_sentences": args.sentences} if args.sentences else {}
    return resolve({**data, **size, "train_langs": ["de"], "eval_langs": ["de"], "model": args.model,
                    "batch_size": args.batch_size, "max_length": args.subwords or 512, "checkpoint_every": "none"})


def ours(args) -> dict:
    """Steps and evaluation of this project: the real pieces, timed from outside."""
    from accelerate import Accelerator

    from ner import experiment
    from ner.evaluation.predict import predict
    from ner.training import loop, machine

    accelerator = Accelerator()
    state, _, config = experiment.build(options_of(args), Path("unused"), accelerator)
    if args.subwords:
        state.training = glued(state.training, args.subwords)
    data = experiment.training_data(state)
    steps, started = [], time.perf_counter()
    for _ in loop.steps(state.model, state.optimizer, data, state.options, accelerator, state.progress, lambda: False):
        now = time.perf_counter()
        batches, words = loop.step_batches(data, state.progress.step - 1, state.options, 0, 1)
        steps.append([now - started, batches[0]["lengths"], batches[0]["input_ids"].numel(), words])
        if len(steps) == args.steps:
            break
        started = time.perf_counter()
    memory = machine.peak_memory_mib(accelerator.device)
    test = state.test["de"]
    windows = [window for window in test.windows if window.sentence < args.eval_sentences]
    words = test.lengths[: args.eval_sentences]
    started = time.perf_counter()
    predict(state.model, windows, words, state.tokenizer.pad_token_id, state.tokenizer.padding_side, accelerator)
    return {"steps": steps, "memory": memory, "eval_seconds": time.perf_counter() - started,
            "eval_sentences": len(words), "rows": len(state.rows),
            "shape": [config.num_hidden_layers, config.hidden_size, config.intermediate_size]}


def glued(training, subwords: int):
    """Sentences of exactly `subwords`, from neighbouring ones put together: same words, another length."""
    import numpy as np

    windows = training.windows
    ids, labels = (np.concatenate([getattr(w, name)[1:-1] for w in windows]) for name in ("input_ids", "labels"))
    ends = [(getattr(windows[0], name)[:1], getattr(windows[0], name)[-1:]) for name in ("input_ids", "labels")]
    inner = subwords - 2
    parts = range(0, len(ids) - inner + 1, inner)
    windows = [windows[0]._replace(input_ids=np.concatenate([ends[0][0], ids[i : i + inner], ends[0][1]]), sentence=n,
                                   labels=np.concatenate([ends[1][0], labels[i : i + inner], ends[1][1]]))
               for n, i in enumerate(parts)]
    return training._replace(windows=windows, lengths=[subwords] * len(windows))


def trainer(args, grouped: bool) -> dict:
    """The same with ``transformers.Trainer`` and its defaults, on the same windows."""
    from datasets import Dataset
    from transformers import (AutoModelForTokenClassification, AutoTokenizer, DataCollatorForTokenClassification,
                              Trainer, TrainerCallback, TrainingArguments)

    from ner.data import corpora, sampling
    from ner.evaluation import evaluate
    from ner.model import pretrained
    from ner.training import machine

    options = options_of(args)
    source = pretrained.folder_of(options.model)
    tokenizer = AutoTokenizer.from_pretrained(source)
    corpus, tags = corpora.load(options)

    def rows(dataset) -> Dataset:
        windows = evaluate.encode(dataset, tokenizer, options.max_length).windows
        return Dataset.from_list([{"input_ids": w.input_ids.tolist(), "attention_mask": [1] * len(w.input_ids),
                                   "labels": w.labels.tolist()} for w in windows])

    steps, last = [], {}

    class Clock(TrainerCallback):
        def on_step_begin(self, *_, **__):
            last["start"] = time.perf_counter()

        def on_step_end(self, *_, **__):
            steps.append([time.perf_counter() - last["start"], last["lengths"], last["slots"], last["words"]])

    pad = DataCollatorForTokenClassification(tokenizer)

    def collate(features):
        batch = pad(features)
        last.update(lengths=batch["attention_mask"].sum(1).tolist(), slots=batch["input_ids"].numel(),
                    words=int((batch["labels"] != -100).sum()))
        return batch

    model = AutoModelForTokenClassification.from_pretrained(source, num_labels=len(tags.names))
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder, max_steps=args.steps, per_device_train_batch_size=args.batch_size,
            per_device_eval_batch_size=args.batch_size, weight_decay=0.01, save_strategy="no", report_to=[],
            disable_tqdm=True,
            train_sampling_strategy="group_by_length" if grouped else "random")
        training = rows(sampling.training_set(corpus["train"], options.num_train_sentences))
        peer = Trainer(model, settings, train_dataset=training, data_collator=collate, callbacks=[Clock()])
        whole = peer.train().metrics["train_samples_per_second"]
        memory = machine.peak_memory_mib(peer.args.device)
        test = rows(corpus["test"]["de"].select(range(min(args.eval_sentences, len(corpus["test"]["de"])))))
        started = time.perf_counter()
        peer.predict(test)
        seconds = time.perf_counter() - started
    return {"steps": steps, "memory": memory, "eval_seconds": seconds, "eval_sentences": len(test),
            "trainer_says": whole}


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


def figures(result: dict) -> dict:
    """Totals over the steps of an arm but the first ones."""
    seconds, lengths, slots, _ = zip(*result["steps"][DROPPED:])
    tokens = sum(map(sum, lengths))
    return {"sentences/s": sum(map(len, lengths)) / sum(seconds), "tokens/s": tokens / sum(seconds),
            "evaluation sentences/s": result["eval_sentences"] / result["eval_seconds"], "memory MiB": result["memory"],
            "padding": 1 - tokens / sum(slots)}


def in_fresh_process(args, arm: str, **changes) -> dict:
    """One arm in a process of its own."""
    values = {**vars(args), **changes, "arm": arm}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        words = [f"--{name}={value}" for name, value in values.items() if value not in (None, False) and name != "out"]
        words = [word.removesuffix("=True") for word in words if not word.startswith("--scale")]
        subprocess.run([sys.executable, "-m", "ner.benchmark", *words, f"--out={out}"], check=True,
                       stdout=subprocess.DEVNULL)
        return json.loads(out.read_text())


def compare(args) -> dict:
    """All arms in turn, the table, and the ratios."""
    results, rates = {}, [gemm_rate()]
    for arm in ARMS:
        results[arm] = in_fresh_process(args, arm)
        rates.append(gemm_rate())
    table = {arm: figures(result) for arm, result in results.items()}
    print(f"{'':<10}{'sentences/s':>13}{'tokens/s':>10}{'evaluation sentences/s':>24}{'memory MiB':>12}{'padding':>9}")
    for arm, row in table.items():
        print(f"{arm:<10}{row['sentences/s']:>13.1f}{row['tokens/s']:>10.0f}{row['evaluation sentences/s']:>24.1f}"
              f"{row['memory MiB']:>12.0f}{row['padding']:>9.0%}")
    mine, shape = table["ours"], results["ours"]["shape"]
    steps = results["ours"]["steps"][DROPPED:]
    per_second = (sum(flops(lengths, words, *shape) for _, lengths, _, words in steps)
                  / sum(seconds for seconds, *_ in steps))
    rate = statistics.median(rates)
    print(f"this machine multiplies fp32 matrices at {rate / 1e9:.0f} GFLOP/s ({min(rates) / 1e9:.0f} to "
          f"{max(rates) / 1e9:.0f} between the arms); the step reaches {per_second / 1e9:.0f}; "
          f"table of {results['ours']['rows']} rows; "
          "'padding' is what an arm's batches hold (ours computes none of it)\n"
          "FLOPs of a step: 6 * (layers * sum over real tokens of (4 H^2 + 2 H I + 2 n H) "
          "- tokens without a label * (H^2 + 2 H I))")
    return {"train_ratio_trainer": mine["sentences/s"] / table["trainer"]["sentences/s"],
            "train_ratio_grouped": mine["sentences/s"] / table["grouped"]["sentences/s"],
            "eval_ratio_trainer": mine["evaluation sentences/s"] / table["trainer"]["evaluation sentences/s"],
            "memory_ratio_trainer": mine["memory MiB"] / table["trainer"]["memory MiB"],
            "gemm_share": per_second / rate, "trainer_says": results["trainer"]["trainer_says"],
            "grouped_says": results["grouped"]["trainer_says"], "steps": args.steps}


def scale(args) -> dict:
    """How speed and memory grow with the number of sentences and with their length."""
    result = {}
    print(f"{'':<20}{'sentences/s':>13}{'tokens/s':>10}{'memory MiB':>12}{'rows':>9}")
    sizes = [(f"{n} sentences", {"sentences": n}) for n in SCALE_SENTENCES]
    lengths = [(f"{n} subwords", {"sentences": 4_000, "subwords": n, "steps": DROPPED + 4, "batch_size": 32})
               for n in SCALE_SUBWORDS]
    for name, changes in sizes + lengths:
        raw = in_fresh_process(args, "ours", eval_sentences=100, **changes)
        row = figures(raw)
        print(f"{name:<20}{row['sentences/s']:>13.1f}{row['tokens/s']:>10.0f}{row['memory MiB']:>12.0f}"
              f"{raw['rows']:>9}", flush=True)
        result[name] = {"sentences_per_second": row["sentences/s"], "memory_mib": row["memory MiB"],
                        "rows": raw["rows"]}
    return result


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m ner.benchmark", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", help="PAN-X folder; without it the built-in corpus")
    parser.add_argument("--model", default="e5-small", help="encoder [e5-small]")
    parser.add_argument("--steps", type=int, default=53, help="optimizer steps an arm, the first 3 dropped [53]")
    parser.add_argument("--batch_size", type=int, default=64, help="sentences a step [64]")
    parser.add_argument("--eval_sentences", type=int, default=2000, help="sentences to predict [2000]")
    parser.add_argument("--sentences", type=int, help="training sentences to choose from [all]")
    parser.add_argument("--scale", action="store_true", help="growth with sentences and lengths instead of the peers")
    for name in ("arm", "out", "subwords"):  # of the processes that this one starts
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS, type=int if name == "subwords" else str)
    args = parser.parse_args(argv)
    if args.steps <= DROPPED:
        parser.error(f"--steps: expected more than {DROPPED}, found {args.steps}")
    if args.arm:
        result = ours(args) if args.arm == "ours" else trainer(args, args.arm == "grouped")
        Path(args.out).write_text(json.dumps(result))
    else:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        print(json.dumps({name: round(value, 3) if isinstance(value, float) else value
                          for name, value in (scale if args.scale else compare)(args).items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
