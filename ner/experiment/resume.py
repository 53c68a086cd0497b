"""Continuing a run: what must match, and restoring its state."""

import hashlib
from dataclasses import asdict
from pathlib import Path

from accelerate.utils import broadcast_object_list

from ner.experiment import teacher
from ner.experiment.folder import EPOCH, check, number, read_results, share
from ner.experiment.run import Run
from ner.model import pretrained
from ner.options import Options, UserError, as_recipe, with_role
from ner.training import checkpoint, machine


def identity_of(state: Run) -> dict:
    """Everything that the result of a run depends on.

    That includes the encoder's embedding table, because a checkpoint has only the rows that are trained.
    """
    table = pretrained.read_tensor(state.source, pretrained.WORD_EMBEDDINGS)
    content = hashlib.sha256()
    for encoded in [state.training, *state.validation.values(), *state.test.values()]:
        content.update(encoded.gold.tobytes())
        for window in (window for sentence in encoded.windows for window in sentence):
            content.update(window.input_ids.tobytes() + window.labels.tobytes())
    return {**with_role(as_recipe(state.options), "changes_result"), "tag set": state.tags.names,
            "training sentences": len(state.training.tokens), "checksum of the encoded data": content.hexdigest(),
            "checksum of the encoder's embeddings": hashlib.sha256(table.numpy().data).hexdigest(),
            "checksum of the teacher's weights": state.taught and state.taught.about["teacher_weights"],
            "precision": state.accelerator.mixed_precision,
            **{key: version for key, version in machine.versions().items() if key != "git"}}


def same_results(folder: Path, options: Options) -> dict:
    """The results of the finished run in `folder`; ``UserError`` if options that change them differ."""
    results = read_results(folder / "results.json")
    before, now = (with_role(one, "changes_result") for one in (results["options"], as_recipe(options)))
    checkpoint.compare(folder, before, now)
    teacher.check_same(folder, results, options)
    return results


def restore(state: Run) -> None:
    """Restore the newest intact checkpoint; without one, start at the beginning."""
    path, damaged = checkpoint.newest(state.folder / "checkpoints") if state.accelerator.is_main_process else (None, [])
    (name,) = broadcast_object_list([path and str(path)])
    for bad in damaged:
        place = checkpoint.set_aside(bad)
        state.accelerator.print(f"{bad}: damaged, renamed to {place.name}")
    if name is None:
        state.accelerator.print("no checkpoint yet, starting at the beginning")
        return
    state.progress, others = checkpoint.read(Path(name), state.accelerator, state.bare, state.optimizer, state.identity)
    state.best = others["best"]
    state.mean = {key: tensor.to(state.accelerator.device) for key, tensor in others["mean"].items()}
    try:
        check_progress(state)
    except ValueError as error:
        raise UserError(f"{name}: cannot be continued, its progress does not fit this run ({error})") from None
    state.accelerator.print(f"continuing after step {state.progress.step} of {state.total}")


def check_progress(state: Run) -> None:
    """ValueError if the checkpoint's progress and weights are impossible for this run."""
    def step(value) -> bool:
        return type(value) is int and 0 <= value <= state.total

    progress = state.progress
    check(asdict(progress), {
        "step": step, "updates": step, "loss_sum": number, "words": number,
        "seconds": lambda value: number(value) and value > 0,
        "snapshots": [step], "epochs": [EPOCH | {"epoch": step, "updates": step, "mean_f1": share}]})
    ends_epoch = progress.step == state.total or progress.step % state.per_epoch == 0
    evaluated = {state.epochs_ended, state.epochs_ended - ends_epoch}  # weights are saved before they are evaluated
    if len(progress.epochs) not in evaluated or any(
            epoch["validation"].keys() != state.validation.keys() for epoch in progress.epochs):
        raise ValueError(f"{len(progress.epochs)} epochs after step {progress.step}, or with other languages")
    taken = [number for number in state.snapshot_steps if number <= progress.step]
    if len(progress.snapshots) != len(taken) or bool(taken) != bool(state.mean):
        raise ValueError(f"{len(progress.snapshots)} snapshots of its weights after step {progress.step}")
    parameters = dict(state.bare.named_parameters())
    trained = {name: parameter for name, parameter in parameters.items() if parameter.requires_grad}
    for kind, weights, own in (("best", state.best, parameters), ("mean", state.mean, trained)):
        if weights and {name: tensor.shape for name, tensor in weights.items()} != {
                name: parameter.shape for name, parameter in own.items()}:
            raise ValueError(f"the {kind} weights belong to another model")
