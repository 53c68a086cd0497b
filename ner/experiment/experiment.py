"""One run, from options to results.json: the only place that uses every package below it.

It reads in the order of a run: folder, data, model, a rehearsal of the evaluation (so that a bad setting fails within
seconds, not after an epoch), training with an evaluation after every epoch, test, files.
"""

import functools
import shlex
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
import yaml
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, set_seed
from tqdm import tqdm

from ner.data import corpora, encoded, exclude, sampling
from ner.data.encoded import Encoded
from ner.evaluation import board, per_language
from ner.evaluation.per_language import metrics_of
from ner.experiment import ending, publish, resume, teacher
from ner.experiment.folder import check_folder, claim, in_use, is_finished
from ner.experiment.run import (
    Run,
    full_state,
    out_of_patience,
    selected_epoch,
    training_metrics,
    untouched_decay,
)
from ner.experiment.time_left import progress_lines
from ner.files import write_whole
from ner.model import pretrained, roberta, vocabulary
from ner.options import Options, UserError, as_recipe
from ner.tags import TagSet
from ner.training import averaging, checkpoint, loop, machine, optim
from ner.training.rehearsal import rehearse
from ner.training.signals import Stopped, StopSignals

REHEARSAL_SENTENCES, REHEARSAL_SLOTS = 32, 256  # at least two batches per language


def run(options: Options, folder: Path, name: str, claimed: bool = False) -> dict:
    """Train and test one model, write the files of a run to `folder`, and return what results.json holds.

    claimed: the caller keeps other processes out of the folder. Raises ``UserError`` for what the user can fix, and
    `Stopped` if the run received a stop signal.
    """
    check_folder(folder, options)
    accelerator = machine.accelerator(options)
    with ExitStack() as held:
        later = not claimed and not folder.is_dir()  # a folder that is not there yet is claimed when it is made
        (free,) = broadcast_object_list([not accelerator.is_main_process or claimed or later or claim(folder, held)])
        if not free:
            raise in_use(folder)
        return run_alone(options, folder, name, accelerator, held if later else None)


def run_alone(options: Options, folder: Path, name: str, accelerator: Accelerator,
              held: ExitStack | None) -> dict:
    """`run`, in a folder that no other process uses. held: to claim a new folder with."""
    setting, main = machine.setting(accelerator), accelerator.is_main_process
    accelerator.print(machine.described(setting))
    # The main process decides for all: on another machine's disk, the folder may not be there.
    (results,) = broadcast_object_list([resume.same_results(folder, options) if main and is_finished(folder) else None])
    if results:  # killed after its last file: tidy up, and upload if asked to
        if main:
            checkpoint.remove(folder / "checkpoints")
            print(f"{folder}: this run is already finished")
            ending.upload(folder, options)
        return results
    state = build(options, folder, accelerator)
    per_language.evaluate(state.bare, rehearsal(state), state.tags, state.padding, accelerator,
                          decode=options.decode, slots=REHEARSAL_SLOTS)
    state.identity = resume.identity_of(state)
    if options.resume:
        resume.restore(state)
    begin(state, held)
    try:
        train(state)
        average = ending.load_weights_to_keep(state)
        results = {"name": name, "options": as_recipe(options), "versions": machine.versions(), "machine": setting,
                   "train": training_metrics(state) | ({"average": average} if average else {})}
        if accelerator.is_main_process:  # before the test, so that no later failure costs the model
            pretrained.save_model(folder / "model", full_state(state, ending.updates_of(state, average)), state.config,
                                  state.tokenizer, state.tags.names,
                                  f"# {name}\n\nThe training is done, but the run has not finished.\n")
        scored = per_language.evaluate(state.bare, state.test, state.tags, state.padding, accelerator,
                                       state.training.tokens, options.decode)
        results["eval"] = {"test": per_language.results_of(scored)}
        if state.writer:
            ending.finish(state, state.writer, results, scored)
    finally:
        if state.writer:
            state.writer.close()
    accelerator.wait_for_everyone()
    if main:  # last of all, so that no process waits for it in a collective
        ending.upload(folder, options)
    return results


def build(options: Options, folder: Path, accelerator: Accelerator) -> Run:
    """Model and data of a run, before the first step."""
    if options.push_to_hub:
        publish.check_repository_name(options.push_to_hub)
    with accelerator.main_process_first():  # one process fills the caches, the others read them
        source, config = pretrained.encoder_of(options)
        tokenizer = pretrained.load_tokenizer(source, config)
        corpus, tags = corpora.load(options)
    taught = teacher.taught(options, tags, folder, accelerator)
    training, validation, test = load_data(options, corpus, tags, tokenizer, accelerator, taught)
    rows = None
    if options.active_vocabulary:
        ids = [window.input_ids for part in (training, *validation.values(), *test.values())
               for sentence in part.windows for window in sentence]
        padding = max(config.pad_token_id, tokenizer.pad_token_id)  # of BERT they may differ
        rows = vocabulary.active_rows(ids, tokenizer.all_special_ids, padding)
        compact = functools.partial(vocabulary.compact_ids, rows=rows)
        training, *others = (part.with_ids(compact) for part in (training, *validation.values(), *test.values()))
        count = len(validation)
        validation = dict(zip(validation, others[:count], strict=True))
        test = dict(zip(test, others[count:], strict=True))
    bare = make_model(options, source, config, rows, tags)
    optimizer = optim.adamw(bare, options.learning_rate, options.weight_decay)
    model, optimizer = accelerator.prepare(bare, optimizer)
    # for dropout, which differs between processes; the data order does not depend on it
    set_seed(options.seed + accelerator.process_index)
    state = Run(options, folder, accelerator, source, config, tokenizer, tags, training, validation, test, rows, bare,
                model, optimizer, taught)
    if rows is not None:
        untouched_decay(state, 0)  # refuses an optimizer under which the other rows could not be reconstructed
    return state


def load_data(options: Options, corpus: corpora.Corpus, tags: TagSet, tokenizer, accelerator: Accelerator,
              taught: teacher.Taught | None = None) -> tuple[Encoded, dict[str, Encoded], dict[str, Encoded]]:
    """Training, validation and test sentences as windows, the last two by language."""
    training = sampling.training_set(corpus["train"], options.num_train_sentences, taught and taught.languages)
    if options.exclude:
        every = len(training)
        training = exclude.without(training, options.exclude)
        accelerator.print(f"{options.exclude}: left out {every - len(training)} of {every} training sentences")
    if not any(any(label not in (-1, tags.ids["O"]) for label in labels) for labels in training["ner_tags"]):
        raise UserError(f"training data: found no entity in {len(training)} sentences; expected tags such as B-PER")
    accelerator.print(corpora.count_table(teacher.as_trained(corpus, training, options.pseudo_langs), tags), "\n")

    window = (tokenizer, options.max_length, options.stride)
    validation, test = ({lang: encoded.encode(rows, *window) for lang, rows in corpus[split].items()}
                        for split in ("validation", "test"))
    return encoded.in_windows(encoded.encode(training, *window, training=True)), validation, test


def make_model(options: Options, source: Path, config, rows: np.ndarray | None, tags: TagSet) -> torch.nn.Module:
    """The model to train, with dropout, loss and frozen layers as the options say.

    Anything added to it here (an adapter, another module) is trained, saved in checkpoints and restored.
    """
    config.num_labels = len(tags.names)
    if options.dropout is not None:
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = options.dropout
        config.classifier_dropout = options.dropout
    generator = torch.Generator().manual_seed(options.seed)
    model = pretrained.load_model(source, config, options.attention, rows, generator, tags.names)
    model.classifier.configure(options, tags)
    if options.freeze is not None:
        roberta.freeze(model, options.freeze)
    if options.compile:
        roberta.compile_body(model)
    return model


def rehearsal(state: Run) -> dict[str, Encoded]:
    """A few sentences of every language to be evaluated."""
    return {lang: encoded.first(part, REHEARSAL_SENTENCES) for lang, part in (state.test | state.validation).items()}


def begin(state: Run, held: ExitStack | None) -> None:
    """Create the run's folder with its options and TensorBoard events."""
    state.accelerator.wait_for_everyone()
    if state.accelerator.is_main_process:
        state.folder.mkdir(parents=True, exist_ok=True)
        if held and not claim(state.folder, held):
            raise in_use(state.folder)
        check_folder(state.folder, state.options)  # another process may have made it, and ended, in the meantime
        options, step = as_recipe(state.options), state.progress.step
        write_whole(state.folder / "config.yaml", yaml.safe_dump(options, sort_keys=False, allow_unicode=True))
        if state.taught:
            teacher.save(state.taught, state.folder, state.tags)
        # What was logged after the checkpoint will be logged again; without a checkpoint, everything.
        state.writer = board.open_board(state.folder, (step and step + 1) if state.options.resume else None)
        if step == 0:
            board.log_options(state.writer, options, list(state.validation))


def train(state: Run, keep: bool = True) -> None:
    """All remaining steps, with curves, checkpoints and an evaluation after every epoch.

    A failing evaluation must not cost the weights: a checkpoint that is due is written before it, and one after the
    last step whatever `checkpoint_every` says (unless `keep` is false). Raises `Stopped` if the run receives a stop
    signal.
    """
    options, progress, accelerator = state.options, state.progress, state.accelerator
    every, snapshot_steps = options.checkpoint_every or "none", state.snapshot_steps
    signals = StopSignals()
    bar = tqdm(total=state.total, initial=progress.step, unit="step",
               disable=None if accelerator.is_main_process else True)
    line = progress_lines(state.total)

    def save(quick: bool = False) -> None:
        if state.writer:
            state.writer.flush()  # a run killed after this is continued here, with its curves up to here
        checkpoint.write(state.folder / "checkpoints", accelerator, state.bare, state.optimizer, progress,
                         state.identity, {"best": state.best, "mean": state.mean}, quick)

    def stop_here() -> NoReturn:
        raise Stopped(f"stopped after step {progress.step} of {state.total}; continue with: "
                      f"python train.py --resume --output_dir {shlex.quote(str(state.folder))}",
                      128 + (signals.received or signal.SIGTERM))

    def close_epoch(saved: bool) -> bool:
        """Evaluate; `saved`: a checkpoint has these weights. Returns whether training is over."""
        end_epoch(state)
        if saved:
            checkpoint.add_evaluation(state.folder / "checkpoints", accelerator, progress, {"best": state.best})
        over = progress.step == state.total or out_of_patience(state)
        stop = over and machine.in_any_process(signals(), accelerator)  # no further step would check for it
        if over and not saved and (keep or stop):
            save(quick=stop)
        if stop:
            stop_here()
        return over

    try:
        if len(progress.epochs) < state.epochs_ended:  # it was interrupted before or during that evaluation
            close_epoch(saved=True)
        over = progress.step == state.total or out_of_patience(state)
        if not over:
            rehearse(state.model, state.optimizer, state.training, state.padding, options, accelerator)
        started = time.perf_counter()
        for result in () if over else loop.steps(
                state.model, state.optimizer, state.training, state.padding, options, accelerator, progress, signals):
            seconds = time.perf_counter() - started
            progress.seconds += seconds
            rate = len(loop.sentences_of(state.training, options, progress.step - 1)) / seconds
            bar.set_postfix_str(f"loss {result.loss:.4f}, {rate:.0f} sentences/s", refresh=False)
            bar.update()
            if accelerator.is_main_process and bar.disable and (text := line(progress.step, result.loss, rate)):
                print(text, file=sys.stderr, flush=True)
            last = progress.step == state.total
            if state.writer and (progress.step % options.log_every == 0 or last):
                board.log_step(state.writer, progress.step, result.loss, result.rate, result.grad_norm, rate)
            if progress.step in snapshot_steps:
                averaging.add_snapshot(state.mean, state.bare, len(progress.snapshots))
                progress.snapshots.append(progress.updates)
            epoch_ends = len(progress.epochs) < state.epochs_ended
            due = epoch_ends if every == "epoch" else every != "none" and progress.step % int(every) == 0
            if to_save := due or last and keep or result.stop:
                save(quick=result.stop)
            if result.stop:
                stop_here()
            if epoch_ends and close_epoch(saved=to_save):
                break
            started = time.perf_counter()
    finally:
        bar.close()
        signals.restore()


def end_epoch(state: Run) -> None:
    """Score the validation sets, record the epoch, and keep its weights if it is the selected one."""
    options, progress = state.options, state.progress
    scored = per_language.evaluate(state.bare, state.validation, state.tags, state.padding, state.accelerator,
                                   decode=options.decode, brief=True)
    train_loss, mean_f1 = progress.loss_sum / max(progress.words, 1), per_language.mean_f1(scored)
    epoch = {"epoch": len(progress.epochs) + 1, "step": progress.step, "updates": progress.updates,
             "train_loss": train_loss, "validation": metrics_of(scored), "mean_f1": mean_f1}
    progress.epochs.append(epoch)
    progress.loss_sum, progress.words = 0.0, 0
    if options.select != "last" and selected_epoch(state) is epoch:
        state.best = {name: p.detach().cpu().clone() for name, p in state.bare.named_parameters()}
    loss = np.mean([item.metrics["loss"] for item in scored.values()])
    by_lang = "  ".join(f"{lang} {100 * item.metrics['f1']:.2f}" for lang, item in scored.items())
    state.accelerator.print(f"epoch {epoch['epoch']}: training loss {train_loss:.4f}, validation loss {loss:.4f}, "
                            f"F1 {by_lang}, mean {100 * mean_f1:.2f}")
    if state.writer:
        board.log_validation(state.writer, progress.step, metrics_of(scored), mean_f1)
        ending.log_details(state, state.writer, scored, state.validation, "validation")
