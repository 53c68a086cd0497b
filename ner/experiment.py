"""One run from options to results.json: the only place that knows all four wings.

Reads top to bottom as a run goes: folder, model, data, a rehearsal of the evaluation (so that a broken setting fails in
seconds, not after an epoch), training with an evaluation an epoch, the test, the files.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import transformers
import yaml
from accelerate import Accelerator
from accelerate.utils import set_seed
from tqdm import tqdm

from ner import publish
from ner.data import corpora, sampling
from ner.evaluation import board, evaluate, scoring
from ner.evaluation.evaluate import Encoded, Scored
from ner.model import pretrained, vocabulary
from ner.options import Options, UserError, as_recipe
from ner.tags import TagSet
from ner.training import checkpoint, loop, optim
from ner.training.loop import Progress, TrainingData

RUNS = Path(__file__).parent.parent / "runs"
REHEARSAL_SENTENCES, REHEARSAL_SLOTS = 32, 256  # at least two batches a language


class Stopped(Exception):
    """The run was asked to stop and wrote a checkpoint; `status` is the exit status to leave with."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


@dataclass
class Run:
    """All that one run works with."""

    options: Options
    folder: Path
    accelerator: Accelerator
    tokenizer: object
    tags: TagSet
    training: Encoded
    validation: dict[str, Encoded]
    test: dict[str, Encoded]
    rows: np.ndarray | None  # of the embedding table that the sentences touch; None: the full table is trained
    bare: torch.nn.Module  # the model itself
    model: torch.nn.Module  # as Accelerate wraps it
    optimizer: torch.optim.Optimizer
    progress: Progress = field(default_factory=Progress)
    best: dict[str, torch.Tensor] = field(default_factory=dict)  # weights of the selected epoch; empty: the last counts
    writer: object = None  # TensorBoard, on the main process

    @property
    def total(self) -> int:
        return loop.total_steps(len(self.training.lengths), self.options)

    @property
    def per_epoch(self) -> int:
        return sampling.steps_per_epoch(len(self.training.lengths), self.options.batch_size)


def run(options: Options, folder: Path, name: str) -> dict:
    """Train and test one model; leaves the files of a run in `folder` and returns what results.json holds.

    Raises ``UserError`` for what the user can mend and `Stopped` where the run was told to stop.
    """
    check_folder(folder, options)
    accelerator = Accelerator(mixed_precision=precision(options.mixed_precision))
    state, source, config = build(options, folder, accelerator)
    evaluate.evaluate(state.model, rehearsal(state), state.tags, state.tokenizer, accelerator, slots=REHEARSAL_SLOTS)
    identity = {"options": {k: v for k, v in as_recipe(options).items() if k not in checkpoint.ANYWHERE},
                "data": {"tags": state.tags.names, "sentences": len(state.training.lengths), "steps": state.total},
                "versions": {k: v for k, v in versions().items() if k != "git"}}
    if options.resume:
        restore(state, identity)
    begin(state)
    train(state, identity)
    if state.best:
        state.bare.load_state_dict({key: tensor.to(accelerator.device) for key, tensor in state.best.items()})
    scored = evaluate.evaluate(state.model, state.test, state.tags, state.tokenizer, accelerator, state.training.tokens)
    results = {"name": name, "options": as_recipe(options), "versions": versions(), "train": training_figures(state),
               "eval": {"test": figures(scored)}}
    if accelerator.is_main_process:
        finish(state, results, scored, source, config)
    accelerator.wait_for_everyone()
    return results


def build(options: Options, folder: Path, accelerator: Accelerator) -> tuple[Run, Path, object]:
    """Model and data of a run, before the first step; also the encoder's folder and configuration."""
    if options.push_to_hub:
        publish.check_repository_name(options.push_to_hub)
    with accelerator.main_process_first():  # one process fills the caches of encoder and Hub, the others read them
        source = pretrained.folder_of(options.model, options.model_revision)
        config = pretrained.load_config(source)
        tokenizer = pretrained.load_tokenizer(source, config.model_type)
        corpus, tags = corpora.load(options)
    longest = config.max_position_embeddings - config.pad_token_id - 1
    if options.max_length > longest:
        raise UserError(f"max_length: {options.model} takes up to {longest} subwords, found {options.max_length}")
    training = sampling.training_set(corpus["train"], options.num_train_sentences)
    accelerator.print(corpora.table({**corpus, "train": by_language(training)}, tags), "\n")
    stride = options.max_length // 2 if options.stride is None else options.stride
    training = evaluate.encode(training, tokenizer, options.max_length, stride)
    validation, test = ({lang: evaluate.encode(rows, tokenizer, options.max_length, stride)
                         for lang, rows in corpus[split].items()} for split in ("validation", "test"))
    rows = None
    if options.active_vocabulary:
        encoded = [training, *validation.values(), *test.values()]
        ids = [window.input_ids for part in encoded for window in part.windows]
        rows = vocabulary.active_rows(ids, tokenizer.all_special_ids, config.pad_token_id)
        for part in encoded:
            part.windows[:] = [w._replace(input_ids=vocabulary.compact_ids(w.input_ids, rows)) for w in part.windows]
    config.num_labels = len(tags.names)
    if options.dropout is not None:
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = options.dropout
        config.classifier_dropout = options.dropout
    head = torch.Generator().manual_seed(options.seed)
    bare = pretrained.load_model(source, config, options.attention, rows, head)
    optimizer = optim.adamw(bare, options.learning_rate, options.weight_decay)
    model, optimizer = accelerator.prepare(bare, optimizer)
    set_seed(options.seed + accelerator.process_index)  # dropout differs between processes; the order does not use this
    return (Run(options, folder, accelerator, tokenizer, tags, training, validation, test, rows, bare, model, optimizer),
            source, config)


def rehearsal(state: Run) -> dict[str, Encoded]:
    """A few sentences of every language that will be evaluated."""
    return {lang: evaluate.first(encoded, REHEARSAL_SENTENCES) for lang, encoded in (state.test | state.validation).items()}


def restore(state: Run, identity: dict) -> None:
    """Continue at the newest whole checkpoint; without one, at the beginning."""
    path, damaged = checkpoint.newest(state.folder / "checkpoints")
    for bad in damaged:
        state.accelerator.print(f"{bad}: damaged, left aside")
    if path is None:
        state.accelerator.print("no checkpoint yet, starting at the beginning")
        return
    state.progress, state.best = checkpoint.read(path, state.accelerator, state.bare, state.optimizer, identity)
    state.accelerator.print(f"continuing after step {state.progress.step} of {state.total}")


def begin(state: Run) -> None:
    """The folder of the run, its options and its TensorBoard."""
    state.accelerator.wait_for_everyone()
    if state.accelerator.is_main_process:
        state.folder.mkdir(parents=True, exist_ok=True)
        options = as_recipe(state.options)
        write_whole(state.folder / "config.yaml", yaml.safe_dump(options, sort_keys=False, allow_unicode=True))
        state.writer = board.open_board(state.folder, state.progress.step + 1 if state.options.resume else None)
        board.log_options(state.writer, options, list(state.validation))


def train(state: Run, identity: dict) -> None:
    """All remaining steps: curves, an evaluation an epoch, checkpoints; raises `Stopped` where the run is told to stop."""
    options, progress, accelerator = state.options, state.progress, state.accelerator
    sentences = loop.group_by_sentence(state.training.windows, len(state.training.lengths))
    data = TrainingData(sentences, state.tokenizer.pad_token_id, state.tokenizer.padding_side)
    signals = checkpoint.StopSignals()
    bar = tqdm(total=state.total, initial=progress.step, unit="step", disable=None if accelerator.is_main_process else True)

    def save() -> None:
        checkpoint.write(state.folder / "checkpoints", accelerator, state.bare, state.optimizer, progress, identity, state.best)

    try:
        started = time.perf_counter()
        for result in () if out_of_patience(state) else loop.steps(
                state.model, state.optimizer, data, options, accelerator, progress, signals):
            seconds = time.perf_counter() - started
            progress.seconds += seconds
            rate = options.batch_size / seconds
            bar.set_postfix_str(f"loss {result.loss:.4f}, {rate:.0f} sentences/s", refresh=False)
            bar.update()
            if state.writer and (progress.step % options.log_every == 0 or progress.step == state.total):
                board.log_step(state.writer, progress.step, result.loss, state.optimizer.param_groups[0]["lr"],
                               result.grad_norm, rate)
            epoch_ends = progress.step % state.per_epoch == 0 or progress.step == state.total
            if epoch_ends:
                end_epoch(state)
            if progress.step == state.total or out_of_patience(state):
                break
            every = options.checkpoint_every or "none"
            due = epoch_ends if every == "epoch" else every != "none" and progress.step % int(every) == 0
            if due or result.stop:
                save()
            if result.stop:
                raise Stopped(f"stopped after step {progress.step} of {state.total}; continue with: "
                              f"python train.py --resume --output_dir {state.folder}", 128 + (signals.received or 15))
            started = time.perf_counter()
    finally:
        bar.close()
        signals.restore()


def end_epoch(state: Run) -> None:
    """Score the validation sets, note the epoch, keep its weights if it is the one to select."""
    options, progress = state.options, state.progress
    scored = evaluate.evaluate(state.model, state.validation, state.tags, state.tokenizer, state.accelerator)
    train_loss = progress.loss_sum / max(progress.words, 1)
    epoch = {"epoch": len(progress.epochs) + 1, "step": progress.step, "updates": progress.updates, "train_loss": train_loss,
             "validation": figures(scored, mean=False), "mean_f1": evaluate.mean_f1(scored)}
    before = [selection_score(state, old) for old in progress.epochs]
    progress.epochs.append(epoch)
    progress.loss_sum, progress.words = 0.0, 0
    if options.select != "last" and selection_score(state, epoch) > max(before, default=-1.0):
        state.best = {name: p.detach().cpu().clone() for name, p in state.bare.named_parameters()}
    loss = np.mean([item.figures["loss"] for item in scored.values()])
    by_lang = "  ".join(f"{lang} {100 * item.figures['f1']:.2f}" for lang, item in scored.items())
    state.accelerator.print(f"epoch {epoch['epoch']}: training loss {train_loss:.4f}, validation loss {loss:.4f}, F1 {by_lang}, "
                            f"mean {100 * epoch['mean_f1']:.2f}")
    if state.writer:
        board.log_validation(state.writer, progress.step, figures(scored, mean=False), epoch["mean_f1"])
        log_details(state, scored, state.validation, "validation")


def selection_score(state: Run, epoch: dict) -> float:
    select = state.options.select
    return epoch["mean_f1"] if select in ("mean", "last") else epoch["validation"][select]["f1"]


def selected_epoch(state: Run) -> dict:
    """The epoch whose weights are kept: the last one, or the first with the best score."""
    epochs = state.progress.epochs
    return epochs[-1] if state.options.select == "last" else max(epochs, key=lambda epoch: selection_score(state, epoch))


def out_of_patience(state: Run) -> bool:
    epochs, patience = state.progress.epochs, state.options.patience
    return bool(patience and epochs) and len(epochs) - selected_epoch(state)["epoch"] >= patience


def finish(state: Run, results: dict, scored: dict[str, Scored], source: Path, config) -> None:
    """Everything that a finished run leaves behind; results.json last, because it says that the run is finished."""
    print(f"\ntest\n{evaluate.table(scored)}")
    pretrained.save_model(state.folder / "model", full_state(state, source), config, state.tokenizer, state.tags.names,
                          publish.model_card(results))
    evaluate.write_predictions(state.folder / "predictions", "test", state.test, scored, state.tags)
    board.log_test(state.writer, state.progress.step, figures(scored, mean=False), evaluate.mean_f1(scored))
    log_details(state, scored, state.test, "test")
    state.writer.close()
    write_whole(state.folder / "results.json", json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    checkpoint.remove(state.folder / "checkpoints")
    print(f"\n{state.folder}: results.json, model/, predictions/, TensorBoard events")
    if state.options.push_to_hub:
        print(publish.push(state.folder / "model", state.options.push_to_hub, state.options.public))


def full_state(state: Run, source: Path) -> dict[str, torch.Tensor]:
    """The weights with the full embedding table, on the CPU."""
    weights = {name: p.detach().cpu() for name, p in state.bare.named_parameters()}
    if state.rows is not None:
        options = state.options
        rates = [optim.learning_rate(update, state.total, options.learning_rate, options.warmup_ratio)
                 for update in range(selected_epoch(state)["updates"])]
        weights[pretrained.WORD_EMBEDDINGS] = vocabulary.full_table(
            pretrained.read_tensor(source, pretrained.WORD_EMBEDDINGS), state.rows, weights[pretrained.WORD_EMBEDDINGS],
            vocabulary.decay_product(np.array(rates), options.weight_decay))
    return weights


def log_details(state: Run, scored: dict[str, Scored], encoded: dict[str, Encoded], split: str) -> None:
    for lang, item in scored.items():
        board.log_report(state.writer, state.progress.step, f"report_{split}/{lang}", board.classification_report(item.figures))
        matrix = scoring.confusion(encoded[lang].gold, item.predictions.labels, len(state.tags.names))
        board.log_confusion(state.writer, state.progress.step, lang, split, matrix, state.tags.names)


def training_figures(state: Run) -> dict:
    """The `train` part of results.json."""
    progress, encoded = state.progress, state.training
    per_epoch = sum(len(window.input_ids) for window in encoded.windows)
    seen = progress.step / state.per_epoch  # passes over the data
    return {"langs": list(state.options.train_langs), "sentences": len(encoded.lengths), "tokens_per_epoch": per_epoch,
            "steps": progress.step, "processes": state.accelerator.num_processes, "seconds": progress.seconds,
            "sentences_per_second": seen * len(encoded.lengths) / progress.seconds,
            "tokens_per_second": seen * per_epoch / progress.seconds, "peak_memory_mib": peak_memory_mib(state.accelerator),
            "selected_epoch": selected_epoch(state)["epoch"], "epochs": progress.epochs}


def figures(scored: dict[str, Scored], mean: bool = True) -> dict:
    """The figures of each language, and their mean F1."""
    result = {lang: item.figures for lang, item in scored.items()}
    return {**result, "mean_f1": evaluate.mean_f1(scored)} if mean else result


def by_language(rows) -> dict:
    langs = np.array(rows["lang"])
    return {str(lang): rows.select(np.flatnonzero(langs == lang)) for lang in dict.fromkeys(langs)}


def peak_memory_mib(accelerator: Accelerator) -> float:
    """Of this process: the GPU's allocations, or resident memory without one."""
    if accelerator.device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def precision(wanted: str) -> str:
    """``auto``: the launcher's bf16 or fp16, else what the GPU is good at, else fp32: bf16 without instructions for it runs
    over 100 times slower on a CPU."""
    if wanted == "auto":
        wanted = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
        if wanted == "no" and torch.cuda.is_available():
            wanted = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if wanted == "fp16" and not torch.cuda.is_available():
        raise UserError("mixed_precision: fp16 needs a GPU; no or auto would be right here")
    if wanted == "bf16" and not torch.cuda.is_available() and not torch.cpu._is_avx512_bf16_supported():
        print("warning: this CPU emulates bf16, over 100 times slower than fp32; mixed_precision: no would be right here",
              file=sys.stderr)
    return wanted


def new_folder(name: str) -> Path:
    """runs/NAME, or the first of runs/NAME-2, runs/NAME-3 ... that is not there yet."""
    folder, number = RUNS / name, 1
    while folder.exists():
        number += 1
        folder = RUNS / f"{name}-{number}"
    return folder


def check_folder(folder: Path, options: Options) -> None:
    """Refuse to write over a run."""
    if (folder / "results.json").exists():
        raise UserError(f"{folder}: holds a finished run; name another output_dir or remove it")
    if (folder / "config.yaml").exists() and not options.resume:
        raise UserError(f"{folder}: holds an unfinished run; continue it with --resume or name another output_dir")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; name a folder for output_dir")


def write_whole(path: Path, text: str) -> None:
    """The file is there with all of `text` or as it was before."""
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def versions() -> dict[str, str]:
    """What the figures depend on beside the options."""
    try:
        here = Path(__file__).parent
        git = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True).stdout.strip()
    except OSError:
        git = ""
    return {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__, "git": git}
