"""Measure speed and memory against transformers: `Trainer` and, with --tag, the pipeline.

Three arms do the same job with the same encoder, sentences and threads: this
project, the Trainer, and the Trainer with `group_by_length`. They run at the
same time (16 GB with the built-in encoder) in separate processes and take turns
of five steps, so that a drift of the machine's speed affects all of them.

Rates are totals over all steps but the first three. The grouped Trainer sorts
50 batches at a time, longest first, so only a multiple of 50 steps shows its
speed; `median_ratio_*` and `first_20_*` show what parts of a cycle would.
Evaluation is the median of three passes over the test set.

Ratios are ours divided by the peer's: above 1 is faster, or for memory below 1
is less. `gemm_share` is the share of the machine's matrix-multiply rate at
which a step runs. Compare ratios within one run only, not times between runs.
`--scale` measures instead how speed and memory grow with the number and length
of sentences. `--tag MODEL` compares tagging: words per second and memory of this
project and of transformers' pipeline with several batch sizes, in turns, each on
every fifth text (5 GB with the built-in encoder, one more per peer).

`--gpu` compares training and evaluation on a GPU, in 16 bits, and on all of them
if there are several: sentences/s, kernels and copies that a step launches, share
of a step in which the GPU does not compute (exchanges with others are not
computing), and memory. One arm runs after another: 20 steps that do not count,
`--steps` that are timed (default: 50), and as many that are profiled.

Results and how they are measured: docs/speed.md.
"""

import argparse
import json
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, contextmanager, suppress

from tabulate import tabulate

from ner import arms, gpu_arms, tag_arms
from ner.arms import EVALUATIONS, Step
from ner.options import UserError

ARMS = tuple(arms.RUNS)
DROPPED = 3  # first steps, in which memory is first touched
TURN = 5  # steps; the first of a turn has cold caches and is a few per cent slower
SCALE_SENTENCES, SCALE_SUBWORDS = (1_000, 4_000, 12_580), (16, 64, 256)


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
    """The necessary FLOPs of a training step on windows of `lengths` tokens, `words` of them labelled: no padding, and
    for tokens without a label nothing after the last attention. A backward pass counts as two forward passes."""
    body = sum(layers * n * (4 * hidden**2 + 2 * hidden * intermediate + 2 * n * hidden) for n in lengths)
    return 6 * (body - (sum(lengths) - words) * (hidden**2 + 2 * hidden * intermediate))


def rate_of(steps: list[Step]) -> float:
    """Sentences/s, as total sentences over total time."""
    return sum(len(step.lengths) for step in steps) / sum(step.seconds for step in steps)


def summary(steps: list[Step], evaluations: list[float]) -> dict:
    """The table row of an arm: rates over all steps but the first, rate of the median step, median evaluation."""
    kept = steps[DROPPED:]
    tokens = sum(sum(step.lengths) for step in kept)
    return {"sentences/s": rate_of(kept), "median": statistics.median(rate_of([step]) for step in kept),
            "tokens/s": tokens / sum(step.seconds for step in kept), "evaluation": statistics.median(evaluations),
            "memory MiB": steps[-1].memory, "padding": 1 - tokens / sum(step.slots for step in kept)}


@contextmanager
def process(arm: str, args, runs: Mapping[str, Callable] = arms.RUNS):
    """An arm in a new process: its first report, and a function that gives it a turn and returns its next report."""
    context = multiprocessing.get_context("spawn")
    pipe, its = context.Pipe()
    worker = context.Process(target=arms.serve, args=(runs[arm], args, its))
    worker.start()
    its.close()  # so that we stop waiting if the process dies

    def next_report():
        try:
            result = pipe.recv()
        except (EOFError, ConnectionError):
            worker.join()
            raise UserError(f"{arm}: its process died with status {worker.exitcode}; "
                            f"see its output above") from None
        if isinstance(result, UserError):
            raise result
        return result

    def turn():
        with suppress(ConnectionError):  # a dead process is detected in the next line
            pipe.send(None)
        return next_report()

    try:
        yield next_report(), turn
    finally:
        pipe.close()
        worker.join()


def screen(rows: list[list[str]], header: list[str]) -> str:
    return tabulate(rows, ["", *header], "plain", disable_numparse=True, colalign=["left", *["right"] * len(header)])


def compare(args) -> dict:
    """Run all arms in turns of a few steps; prints the table and returns the ratios."""
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
            rate = (before + rates[-len(ARMS)]) / 2  # around our steps
            shares += [flops(step.lengths, step.words, *about["shape"]) / step.seconds / rate
                       for step in steps["ours"][first:]]
        for _ in range(EVALUATIONS):
            for arm, turn in turns.items():
                evaluations[arm].append(turn())
    table = {arm: summary(steps[arm], evaluations[arm]) for arm in ARMS}
    print(screen([[arm, f"{row['sentences/s']:.1f}", f"{row['median']:.1f}", f"{row['tokens/s']:.0f}",
                   f"{row['evaluation']:.1f}", f"{row['memory MiB']:.0f}", f"{row['padding']:.0%}"]
                  for arm, row in table.items()], list(table["ours"])))
    print("'median' and 'evaluation' are also in sentences/s; 'padding' is in an arm's batches (ours does not compute "
          f"it); embedding table of {about['rows']} rows\n"
          f"this machine multiplies fp32 matrices at {statistics.median(rates) / 1e9:.0f} GFLOP/s "
          f"({min(rates) / 1e9:.0f} to {max(rates) / 1e9:.0f} between turns)\n"
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
    """Speed and memory of this project alone, by number of sentences and by length."""
    result, rows = {}, []
    sizes = [(f"{n} sentences", {"sentences": n}) for n in SCALE_SENTENCES]
    lengths = [(f"{n} subwords", {"sentences": 4_000, "subwords": n, "steps": DROPPED + 4, "batch_size": 32})
               for n in SCALE_SUBWORDS]
    for name, changes in sizes + lengths:
        print(f"{name} ...", file=sys.stderr)
        changed = argparse.Namespace(**{**vars(args), "eval_sentences": 1, **changes})
        with process("ours", changed) as (about, turn):
            row = summary([turn() for _ in range(changed.steps)], [turn()])
        rows.append([name, f"{row['sentences/s']:.1f}", f"{row['tokens/s']:.0f}", f"{row['memory MiB']:.0f}",
                     str(about["rows"])])
        result[name] = {"sentences_per_second": row["sentences/s"], "memory_mib": row["memory MiB"],
                        "rows": about["rows"]}
    print(screen(rows, ["sentences/s", "tokens/s", "memory MiB", "rows"]))
    return result


def tagging(args) -> dict:
    """All arms that tag, in turns; prints the table and returns our rates over the best pipeline's."""
    from ner.data import corpora, text

    if args.small and not os.path.isfile(os.path.join(args.small, "config.json")):
        raise UserError(f"--small: {args.small} holds no config.json; expected a folder that evaluate.py export wrote")
    rows = corpora.load(arms.options_of(args, fraction=1), {"test": ["de"]})[0]["test"]["de"]
    args.texts = [" ".join(tokens) for tokens in rows["tokens"]][: args.sentences]
    parts: dict[str, list[tag_arms.Part]] = {arm: [] for arm in tag_arms.possible(args)}
    words = sum(len(text.split_words(one)) for one in args.texts)
    with ExitStack() as running:
        turns = {arm: running.enter_context(process(arm, args, tag_arms.RUNS))[1] for arm in parts}
        for _ in range(tag_arms.PARTS):
            for arm, turn in turns.items():
                parts[arm].append(turn())
    rates = {arm: words / sum(part.seconds for part in own) for arm, own in parts.items()}
    best = max(rate for arm, rate in rates.items() if arm.startswith("pipeline"))
    print(screen([[arm, f"{rates[arm]:.0f}", f"{rates[arm] / best:.2f}", str(sum(part.entities for part in own)),
                   f"{own[-1].memory:.0f}"] for arm, own in parts.items()],
                 ["words/s", "ratio", "entities", "memory MiB"]))
    print(f"{len(args.texts):,} German texts, {words:,} words; ratio to the fastest pipeline")
    return {arm: round(rate / best, 3) for arm, rate in rates.items() if arm.startswith("ours")}


def on_gpus(args) -> dict:
    """All arms on one GPU and on all; prints the table and returns our rates over the Trainer's."""
    import torch

    count = torch.cuda.device_count()
    if not count:
        raise UserError(f"--gpu: torch {torch.__version__} sees no GPU")
    if args.batch_size % count:
        raise UserError(f"--batch_size: expected a multiple of the {count} GPUs, found {args.batch_size}")
    figures: dict[str, dict[str, float] | None] = {}
    for gpus in sorted({1, count}):
        for arm in gpu_arms.RUNS:
            name = f"{arm}, {gpus} GPU{'s' * (gpus > 1)}"
            print(f"{name} ...", file=sys.stderr)
            figures[name] = gpu_figures(arm, args, gpus)
    return table_of(figures)


def gpu_figures(arm: str, args, gpus: int) -> dict[str, float] | None:
    """The figures of an arm on so many GPUs; None if it fails, as one without a compiler may."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(gpus)] if gpus > 1 else []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]  # else the Trainer would use all it sees
    settings = {**vars(args), "timed": args.steps, "steps": gpu_arms.WARM_UP + 2 * args.steps}
    words = [*launcher, "-m", "ner.gpu_arms", arm, json.dumps(settings)]
    done = subprocess.run([sys.executable, *words],  # noqa: S603  # ourselves
                          stdout=subprocess.PIPE, text=True,
                          env={**os.environ, **({} if launcher else {"CUDA_VISIBLE_DEVICES": visible})})
    if done.returncode:
        print(f"{arm}: ended with status {done.returncode}; see its output above", file=sys.stderr)
        return None
    return json.loads(done.stdout.strip().split("\n")[-1])


def table_of(figures: Mapping[str, Mapping[str, float] | None]) -> dict[str, float]:
    print(screen([[arm, f"{row['sentences/s']:.0f}", f"{row['ms']:.1f}", f"{row['launches']:.0f}",
                   f"{1 - row['busy ms'] / row['ms']:.0%}", f"{row['memory MiB']:.0f}", f"{row['evaluation']:.0f}"]
                  if row else [arm, *["failed"] * 6] for arm, row in figures.items()],
                 ["sentences/s", "ms a step", "launches", "idle", "memory MiB", "evaluation"]))
    print("'evaluation' is in sentences/s, the median of three passes; "
          "'idle': the share of a step in which the GPU does not compute")
    peers = {arm: (row, figures[f"trainer,{arm.rpartition(',')[2]}"]) for arm, row in figures.items()}
    return {f"{arm}: {name}": round(row[key] / peer[key], 3)
            for arm, (row, peer) in peers.items() if arm.startswith("ours") and row and peer
            for name, key in (("training", "sentences/s"), ("evaluation", "evaluation"), ("memory", "memory MiB"))}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m ner.benchmark", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", metavar="TEXT", help="PAN-X folder [default: the built-in corpus]")
    parser.add_argument("--model", metavar="TEXT", default="e5-small", help="encoder [default: e5-small]")
    parser.add_argument("--steps", type=int, metavar="N",
                        help="optimizer steps per arm, the first 3 not counted [default: 53]; with --gpu, the steps "
                             "that are timed [default: 50]")
    parser.add_argument("--batch_size", type=int, metavar="N", default=64, help="sentences per step [default: 64]")
    parser.add_argument("--eval_sentences", type=int, metavar="N",
                        help="sentences to predict, three times [default: all of the test set]")
    parser.add_argument("--sentences", type=int, metavar="N",
                        help="training sentences to choose from; with --tag, texts [default: all]")
    parser.add_argument("--scale", action="store_true",
                        help="measure growth with number and length of sentences instead")
    parser.add_argument("--tag", metavar="RUN_OR_MODEL",
                        help="measure tagging with this model instead, in fp32 and, where the CPU has it, bf16")
    parser.add_argument("--small", metavar="MODEL",
                        help="with --tag: the same model after evaluate.py export, and its ONNX files if there are any")
    parser.add_argument("--gpu", action="store_true", help="measure on one GPU and on all of them instead")
    args = parser.parse_args(argv, argparse.Namespace(subwords=None))
    if args.small and not args.tag:
        parser.error("--small: expected with --tag")
    args.steps = args.steps or (50 if args.gpu else 53)
    if args.steps <= DROPPED:
        parser.error(f"--steps: expected more than {DROPPED}, found {args.steps}")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        measure = tagging if args.tag else on_gpus if args.gpu else scale if args.scale else compare
        print(json.dumps(measure(args)))
    except UserError as error:
        print(f"ner.benchmark: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ner.benchmark: stopped", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
