"""The state of a run: written atomically, restored exactly.

A checkpoint is one folder: safetensors for weights, moments and random states, JSON for the rest, and a manifest with
the checksum of every file. It is built under a temporary name, synced to disk and renamed, so it is either complete or
absent. If checksums show damage, the previous checkpoint is used. No pickle is written or read.
"""

import dataclasses
import json
import os
import random
import shutil
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from ner.files import checksum, whole_folder
from ner.options import UserError, same
from ner.training.loop import Progress

KEPT = 2
GPUS = ("cuda", "mps")  # kinds of device with random numbers of their own
MANIFEST, STATE = "manifest.json", "state.json"
OTHERS = ("best", "mean")  # of the selected epoch, of the snapshots
Weights = dict[str, dict[str, torch.Tensor]]  # sets of weights by the parameter's name, each with a name


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """The random states of this process as byte tensors: torch, the GPU if it computes on one, and (as JSON) Python and
    NumPy."""
    state = {"torch": torch.get_rng_state()}
    if device.type in GPUS:
        state[device.type] = torch.get_device_module(device).get_rng_state()
    numpy = np.random.get_state(legacy=False)
    words = {"python": random.getstate(),
             "numpy": [numpy["bit_generator"], numpy["state"]["key"].tolist(), numpy["state"]["pos"],
                       numpy["has_gauss"], numpy["gauss"]]}
    return {**state, "words": torch.frombuffer(bytearray(json.dumps(words).encode()), dtype=torch.uint8)}


def restore_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    words = json.loads(state["words"].numpy().tobytes())
    version, internal, gauss = words["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, *rest = words["numpy"]
    np.random.set_state((kind, np.array(keys, np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if device.type in GPUS and device.type in state:
        torch.get_device_module(device).set_rng_state(state[device.type])


def optimizer_state(model, optimizer) -> tuple[dict[str, torch.Tensor], dict]:
    """Everything needed to restore an optimizer: its tensors for each parameter that it has updated, as ``KEY/NAME``
    (``exp_avg/NAME``); and for JSON their names, its other values, and the plain values of its groups."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    state = {f"{key}/{names[parameter]}": value for parameter, of_parameter in optimizer.state.items()
             for key, value in of_parameter.items()}
    tensors = {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
    return tensors, {"tensors": sorted(tensors), "values": {key: state[key] for key in state.keys() - tensors.keys()},
                     "groups": [plain_values(group) for group in optimizer.param_groups]}


def plain_values(group: dict) -> dict:
    """The settings of a parameter group, and what some optimizers estimate there (Prodigy's ``d``)."""
    return {key: value for key, value in group.items() if isinstance(value, bool | int | float | str)}


def restore_optimizer_state(model, optimizer, tensors: dict[str, torch.Tensor], rest: dict) -> None:
    """Raises ``ValueError`` if this state does not fit an optimizer of the trainable parameters of `model`.

    Before its first update, an optimizer has no state.
    """
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if odd := sorted(tensors.keys() ^ set(rest["tensors"])):
        raise ValueError(f"the optimizer's state has missing or unexpected tensors: {', '.join(odd[:3])}")
    for key, value in {**tensors, **rest["values"]}.items():
        kind, name = key.split("/", 1)
        if name not in trained or isinstance(value, torch.Tensor) and not fits(value.shape, trained[name].shape):
            raise ValueError(f"the optimizer's {key} does not fit the model")
        # step counts are moved to the device, too, because the optimizer is fused
        optimizer.state[trained[name]][kind] = value.to(trained[name].device) if key in tensors else value
    for group, values in zip(optimizer.param_groups, rest["groups"], strict=True):
        if {key: type(value) for key, value in values.items()} != {
                key: type(value) for key, value in plain_values(group).items()}:
            raise ValueError("the optimizer's parameter groups differ")
        group.update(values)


def fits(state: torch.Size, parameter: torch.Size) -> bool:
    """Whether an optimizer may keep a tensor of this shape: the parameter's shape, a single number, or for a matrix one
    number per row or column, as in Adafactor."""
    factored = len(parameter) > 1 and len(state) == len(parameter) and all(
        ours in (1, theirs) for ours, theirs in zip(state, parameter, strict=True))
    return not state or state == parameter or factored


def write(folder: Path, accelerator: Accelerator, model, optimizer, progress: Progress, identity: dict,
          others: Weights, quick: bool = False) -> None:
    """Write ``folder/step-N`` and keep only it and the one before. Every process must call this; the main one writes.

    identity: what must match to continue the run. others: weights by the names in `OTHERS`; an empty set is left out.
    quick: link those of them that the checkpoint before has, for a stop, before which a launcher waits only so long.
    Otherwise every checkpoint has its own copy, so that damage to one file costs one checkpoint.
    """
    own = [random_state(accelerator.device)]
    states = gather_object(own) if accelerator.num_processes > 1 else own
    if accelerator.is_main_process:
        new = folder / f"step-{progress.step}"
        tensors, rest = optimizer_state(model, optimizer)
        # Damaged ones were renamed when the run was continued, so these are intact; later ones are from another run.
        before = sorted((path for path in found(folder) if step_of(path) < progress.step), key=step_of)
        weights = files_of(others)
        unchanged = [before[-1] / name for name in weights
                     if quick and before and holds(before[-1] / name, weights[name])]
        write_folder(new, {
            "weights.safetensors": {name: p.detach().cpu().contiguous() for name, p in model.named_parameters()},
            "moments.safetensors": {name: t.detach().cpu().contiguous() for name, t in tensors.items()},
            "random.safetensors": {f"{rank}/{name}": t
                                   for rank, state in enumerate(states) for name, t in state.items()},
            **{name: weights[name] for name in weights.keys() - {path.name for path in unchanged}},
        }, {"progress": dataclasses.asdict(progress), "identity": identity, "processes": len(states),
            "optimizer": rest,
            "scaler": accelerator.scaler.state_dict() if accelerator.scaler is not None else None},
            {path: checksum(path) for path in unchanged})
        for path in {*found(folder), *folder.glob(".step-*.tmp")} - {new, *before[1 - KEPT :]}:
            shutil.rmtree(path)
    accelerator.wait_for_everyone()


def add_evaluation(folder: Path, accelerator: Accelerator, progress: Progress, others: Weights) -> None:
    """Write ``folder/step-N`` again, with the results of evaluating its weights added to progress and `others`. Its
    other files stay the same. Every process must call this."""
    if accelerator.is_main_process:
        path = folder / f"step-{progress.step}"
        state = json.loads((path / STATE).read_text(encoding="utf-8")) | {"progress": dataclasses.asdict(progress)}
        sums = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        new = files_of(others)
        write_folder(path, new, state, {path / name: sums[name] for name in sums if name not in (STATE, *new)})
    accelerator.wait_for_everyone()


def files_of(others: Weights) -> Weights:
    """The files that hold these weights, with their content."""
    return {f"{name}.safetensors": {key: tensor.cpu().contiguous() for key, tensor in weights.items()}
            for name, weights in others.items() if weights}


def holds(path: Path, weights: dict[str, torch.Tensor]) -> bool:
    """Whether a file has exactly these weights."""
    try:
        with safe_open(path, "pt") as file:
            return set(file.keys()) == weights.keys() and all(
                torch.equal(file.get_tensor(name), tensor) for name, tensor in weights.items())
    except (OSError, SafetensorError):
        return False


def write_folder(folder: Path, tensors: dict[str, dict[str, torch.Tensor]], state: dict,
                 kept: dict[Path, str]) -> None:
    """Write a folder of files with a manifest; it gets its name only when everything is on the disk. `kept`: files to
    link to, with their checksums."""
    try:
        with whole_folder(folder) as new:
            for path in kept:
                try:
                    os.link(path, new / path.name)
                except OSError:  # a file system without hard links
                    shutil.copyfile(path, new / path.name)
            for name, content in tensors.items():
                save_file(content, new / name)
            (new / STATE).write_text(json.dumps(state), encoding="utf-8")
            sums = {path.name: digest for path, digest in kept.items()} | {
                name: checksum(new / name) for name in sorted([*tensors, STATE])}
            (new / MANIFEST).write_text(json.dumps(sums), encoding="utf-8")
    except Exception as error:  # safetensors raises its own type when the disk is full
        raise UserError(f"{folder}: the checkpoint could not be written ({error}); older ones are intact, "
                        f"free disk space and continue with --resume") from None


def found(folder: Path) -> list[Path]:
    return ([path for path in folder.glob("step-*") if path.name.removeprefix("step-").isdecimal()]
            if folder.is_dir() else [])


def step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def whole(path: Path) -> bool:
    """Whether every file of a checkpoint has the checksum listed in its manifest."""
    try:
        sums = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        return {STATE, "weights.safetensors"} <= set(sums) and all(
            "/" not in name and checksum(path / name) == digest for name, digest in sums.items())
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return False


def newest(folder: Path) -> tuple[Path | None, list[Path]]:
    """The newest intact checkpoint (or None) and the newer, damaged ones."""
    damaged: list[Path] = []
    for path in sorted(found(folder), key=step_of, reverse=True):
        if whole(path):
            return path, damaged
        damaged.append(path)
    return None, damaged


def set_aside(path: Path) -> Path:
    """Rename a damaged checkpoint, so that it no longer counts as one."""
    place = path.with_name(f"{path.name}.damaged")
    shutil.rmtree(place, ignore_errors=True)
    return path.rename(place)


def read(path: Path, accelerator: Accelerator, model, optimizer, identity: dict) -> tuple[Progress, Weights]:
    """Restore a checkpoint that `newest` found into `model`, `optimizer` and the random states.

    Returns the progress and the other weights, by the names in `OTHERS`. Raises ``UserError`` if the run that wrote it
    differs in anything that changes the result (listing what differs), and if a part does not fit.
    """
    try:
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
        compare(path, state["identity"], identity)
        model.load_state_dict(load_file(path / "weights.safetensors"), strict=True)
        restore_optimizer_state(model, optimizer, load_file(path / "moments.safetensors"), state["optimizer"])
        if accelerator.scaler is not None:
            accelerator.scaler.load_state_dict(state["scaler"])
        rank = accelerator.process_index
        # with more processes than before, the new ones have no saved state
        if rank < state["processes"]:
            randoms, prefix = load_file(path / "random.safetensors"), f"{rank}/"
            restore_random_state({name.removeprefix(prefix): t
                                  for name, t in randoms.items() if name.startswith(prefix)}, accelerator.device)
        others = {name: path / f"{name}.safetensors" for name in OTHERS}
        return Progress(**state["progress"]), {name: load_file(file) if file.exists() else {}
                                               for name, file in others.items()}
    except (SafetensorError, OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError,
            OverflowError) as error:
        reason = " ".join(str(error).split())[:200]  # torch writes one line per tensor
        raise UserError(f"{path}: cannot be continued, a part does not load "
                        f"({type(error).__name__}: {reason})") from None


def compare(path: Path, theirs: dict, ours: dict) -> None:
    ours = json.loads(json.dumps(ours))  # tuples are lists in a file
    different = [f"{key}: {theirs.get(key)!r} before, {value!r} now"
                 for key, value in ours.items() if not same(key, theirs.get(key), value)]
    if different:
        raise UserError(f"{path}: cannot be continued, these differ: " + "; ".join(different))


def remove(folder: Path) -> None:
    """Remove the checkpoints of a finished run."""
    shutil.rmtree(folder, ignore_errors=True)
