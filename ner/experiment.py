"""One run from options to results.json: the only place that knows all four wings.

Reads top to bottom as a run goes: folder, model, data, a rehearsal of the evaluation (so that a broken setting fails in
seconds, not after an epoch), training with an evaluation an epoch, the test, the files.
"""

import json
import shlex
import signal
import time
from pathlib import Path

import numpy as np
import torch
import yaml
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, set_seed
from tqdm import tqdm

from ner import publish
from ner.data import corpora, sampling
from ner.evaluation import board, evaluate, scoring
from ner.evaluation.evaluate import Encoded, Scored
from ner.files import check_folder, is_finished, write_whole
from ner.model import pretrained, vocabulary
from ner.options import Options, UserError, as_recipe
from ner.results import read_results
from ner.run import (
    Run, check_progress, figures, full_state, identity_of, out_of_patience, selected_epoch, training_figures)
from ner.training import checkpoint, loop, machine, optim
from ner.training.loop import TrainingData
from ner.training.signals import Stopped, StopSignals

REHEARSAL_SENTENCES, REHEARSAL_SLOTS = 32, 256  # at least two batches a language


def run(options: Options, folder: Path, name: str) -> dict:
    """Train and test one model; leaves the files of a run in `folder` and returns what results.json holds.

    Raises ``UserError`` for what the user can mend and `Stopped` where the run was told to stop.
    """
    check_folder(folder, options)
    accelerator = machine.accelerator(options.mixed_precision)
    if is_finished(folder):
        return already_finished(folder, options, accelerator)
    state, source, config = build(options, folder, accelerator)
    evaluate.evaluate(state.model, rehearsal(state), state.tags, state.tokenizer, accelerator, slots=REHEARSAL_SLOTS)
    identity = identity_of(state, source)
    if options.resume:
        restore(state, identity)
    begin(state)
    try:
        train(state, identity)
        if state.best:
            state.bare.load_state_dict({key: tensor.to(accelerator.device) for key, tensor in state.best.items()})
        scored = evaluate.evaluate(state.model, state.test, state.tags, state.tokenizer, accelerator,
                                   state.training.tokens)
        results = {"name": name, "options": as_recipe(options), "versions": machine.versions(),
                   "train": training_figures(state), "eval": {"test": figures(scored)}}
        if accelerator.is_main_process:
            finish(state, results, scored, source, config)
    finally:
        if state.writer:
            state.writer.close()
    accelerator.wait_for_everyone()
    return results


def already_finished(folder: Path, options: Options, accelerator: Accelerator) -> dict:
    """To continue a run that was killed after its last file was written: no checkpoint is left, and it is uploaded."""
    results = read_results(folder / "results.json")
    before, now = (checkpoint.identity_options(one) for one in (results["options"], as_recipe(options)))
    checkpoint.compare(folder, before, now)
    if accelerator.is_main_process:
        checkpoint.remove(folder / "checkpoints")
        print(f"{folder}: this run has finished")
        upload(folder, options)
    return results


def build(options: Options, folder: Path, accelerator: Accelerator) -> tuple[Run, Path, object]:
    """Model and data of a run, before the first step; also the encoder's folder and configuration."""
    if options.push_to_hub:
        publish.check_repository_name(options.push_to_hub)
    with accelerator.main_process_first():  # one process fills the caches of encoder and Hub, the others read them
        source = pretrained.folder_of(options.model, options.model_revision)
        config = pretrained.load_config(source)
        tokenizer = pretrained.load_tokenizer(source, config)
        corpus, tags = corpora.load(options)
    longest = config.max_position_embeddings - config.pad_token_id - 1
    if options.max_length > longest:
        raise UserError(f"max_length: {options.model} takes up to {longest} subwords, found {options.max_length}")
    training = sampling.training_set(corpus["train"], options.num_train_sentences)
    if options.exclude:
        every = len(training)
        training = sampling.without(training, options.exclude)
        accelerator.print(f"{options.exclude}: {every - len(training)} of {every} training sentences left out")
    accelerator.print(corpora.table({**corpus, "train": by_language(training)}, tags), "\n")
    training = evaluate.encode(training, tokenizer, options.max_length, options.stride)
    validation, test = ({lang: evaluate.encode(rows, tokenizer, options.max_length, options.stride)
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
    bare = pretrained.load_model(source, config, options.attention, rows, head, tags.names)
    optimizer = optim.adamw(bare, options.learning_rate, options.weight_decay)
    model, optimizer = accelerator.prepare(bare, optimizer)
    # dropout differs between processes; the order does not use this
    set_seed(options.seed + accelerator.process_index)
    return (Run(options, folder, accelerator, tokenizer, tags, training, validation, test, rows, bare, model,
                optimizer),
            source, config)


def rehearsal(state: Run) -> dict[str, Encoded]:
    """A few sentences of every language that will be evaluated."""
    return {lang: evaluate.first(encoded, REHEARSAL_SENTENCES)
            for lang, encoded in (state.test | state.validation).items()}


def restore(state: Run, identity: dict) -> None:
    """Continue at the newest whole checkpoint; without one, at the beginning."""
    path, damaged = checkpoint.newest(state.folder / "checkpoints") if state.accelerator.is_main_process else (None, [])
    (name,) = broadcast_object_list([path and str(path)])
    for bad in damaged:
        place = checkpoint.set_aside(bad)
        state.accelerator.print(f"{bad}: damaged, set aside as {place.name}")
    if name is None:
        state.accelerator.print("no checkpoint yet, starting at the beginning")
        return
    state.progress, state.best = checkpoint.read(Path(name), state.accelerator, state.bare, state.optimizer, identity)
    try:
        check_progress(state)
    except ValueError as error:
        raise UserError(f"{name}: cannot be continued, its progress is none of this run ({error})") from None
    state.accelerator.print(f"continuing after step {state.progress.step} of {state.total}")


def begin(state: Run) -> None:
    """The folder of the run, its options and its TensorBoard."""
    state.accelerator.wait_for_everyone()
    if state.accelerator.is_main_process:
        state.folder.mkdir(parents=True, exist_ok=True)
        options, step = as_recipe(state.options), state.progress.step
        write_whole(state.folder / "config.yaml", yaml.safe_dump(options, sort_keys=False, allow_unicode=True))
        # Whatever was logged after the checkpoint is logged again, from the start of the file where there was none.
        state.writer = board.open_board(state.folder, (step and step + 1) if state.options.resume else None)
        if step == 0:
            board.log_options(state.writer, options, list(state.validation))


def training_data(state: Run) -> TrainingData:
    sentences = loop.group_by_sentence(state.training.windows, len(state.training.lengths))
    return TrainingData(sentences, state.training.source, state.tokenizer.pad_token_id, state.tokenizer.padding_side)


def train(state: Run, identity: dict) -> None:
    """All remaining steps: curves, an evaluation an epoch, checkpoints.

    Raises `Stopped` where the run is told to stop.
    """
    options, progress, accelerator = state.options, state.progress, state.accelerator
    data = training_data(state)
    every = options.checkpoint_every or "none"
    signals = StopSignals()
    bar = tqdm(total=state.total, initial=progress.step, unit="step",
               disable=None if accelerator.is_main_process else True)

    def save() -> None:
        if state.writer:
            state.writer.flush()  # a run killed after this point is continued here, with its curves up to here
        checkpoint.write(state.folder / "checkpoints", accelerator, state.bare, state.optimizer, progress, identity,
                         state.best)

    try:
        started = time.perf_counter()
        for result in () if out_of_patience(state) else loop.steps(
                state.model, state.optimizer, data, options, accelerator, progress, signals):
            seconds = time.perf_counter() - started
            progress.seconds += seconds
            rate = len(loop.sentences_of(data, options, progress.step - 1)) / seconds
            bar.set_postfix_str(f"loss {result.loss:.4f}, {rate:.0f} sentences/s", refresh=False)
            bar.update()
            if state.writer and (progress.step % options.log_every == 0 or progress.step == state.total):
                board.log_step(state.writer, progress.step, result.loss, state.optimizer.param_groups[0]["lr"],
                               result.grad_norm, rate)
            epoch_ends = progress.step % state.per_epoch == 0 or progress.step == state.total
            if epoch_ends:
                end_epoch(state)
            ended = progress.step == state.total or out_of_patience(state)
            due = every != "none" and (ended or (epoch_ends if every == "epoch" else progress.step % int(every) == 0))
            # A signal in the last epoch's evaluation finds no step more that could ask for it.
            stop = result.stop or ended and machine.in_any_process(signals(), accelerator)
            if due or stop:
                save()
            if stop:
                raise Stopped(f"stopped after step {progress.step} of {state.total}; continue with: "
                              f"python train.py --resume --output_dir {shlex.quote(str(state.folder))}",
                              128 + (signals.received or signal.SIGTERM))
            if ended:
                break
            started = time.perf_counter()
    finally:
        bar.close()
        signals.restore()


def end_epoch(state: Run) -> None:
    """Score the validation sets, note the epoch, keep its weights if it is the one to select."""
    options, progress = state.options, state.progress
    scored = evaluate.evaluate(state.model, state.validation, state.tags, state.tokenizer, state.accelerator)
    train_loss = progress.loss_sum / max(progress.words, 1)
    epoch = {"epoch": len(progress.epochs) + 1, "step": progress.step, "updates": progress.updates,
             "train_loss": train_loss, "validation": figures(scored, mean=False), "mean_f1": evaluate.mean_f1(scored)}
    progress.epochs.append(epoch)
    progress.loss_sum, progress.words = 0.0, 0
    if options.select != "last" and selected_epoch(state) is epoch:
        state.best = {name: p.detach().cpu().clone() for name, p in state.bare.named_parameters()}
    loss = np.mean([item.figures["loss"] for item in scored.values()])
    by_lang = "  ".join(f"{lang} {100 * item.figures['f1']:.2f}" for lang, item in scored.items())
    state.accelerator.print(f"epoch {epoch['epoch']}: training loss {train_loss:.4f}, validation loss {loss:.4f}, "
                            f"F1 {by_lang}, mean {100 * epoch['mean_f1']:.2f}")
    if state.writer:
        board.log_validation(state.writer, progress.step, figures(scored, mean=False), epoch["mean_f1"])
        log_details(state, scored, state.validation, "validation")


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
    upload(state.folder, state.options)


def upload(folder: Path, options: Options) -> None:
    if options.push_to_hub:
        print(publish.push(folder / "model", options.push_to_hub, options.public))


def log_details(state: Run, scored: dict[str, Scored], encoded: dict[str, Encoded], split: str) -> None:
    for lang, item in scored.items():
        board.log_report(state.writer, state.progress.step, f"report_{split}/{lang}",
                         board.classification_report(item.figures))
        matrix = scoring.confusion(encoded[lang].gold, item.predictions.labels, len(state.tags.names))
        board.log_confusion(state.writer, state.progress.step, lang, split, matrix, state.tags.names)


def by_language(rows) -> dict:
    langs = np.array(rows["lang"])
    return {str(lang): rows.select(np.flatnonzero(langs == lang)) for lang in dict.fromkeys(langs)}
