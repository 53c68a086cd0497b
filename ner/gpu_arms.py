"""The arms of ``python -m ner.benchmark --gpu``: this project and the Trainer, in 16 bits, on one GPU or several.

Each arm is a program, ``python -m ner.gpu_arms ARM ARGUMENTS``, started once per GPU; the first process prints its
figures as one line of JSON. Arms run one after another, because a GPU is not shared.

Steps are timed together, from an idle GPU to an idle GPU, so that an arm may prepare the next step while the GPU
computes. Launches and the time in which the GPU computes are from torch's profiler, in as many steps after these. The
grouped Trainer sorts 50 batches at a time, longest first, so both are 50 steps.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from ner import arms
from ner.arms import EVALUATIONS

WARM_UP = 20  # steps, which compile kernels and fill the allocator


class Meter:
    """What is measured of an arm: `step` is called after every step, `evaluation` after every pass over the test set.

    The first `WARM_UP` steps do not count, the next `args.timed` are timed, and as many after them profiled. sentences:
    in the training set.
    """

    def __init__(self, args, device, sentences: int) -> None:
        import torch

        self.args, self.device, self.sentences, self.done = args, device, sentences, 0
        self.profiler: AbstractContextManager[Any] = nullcontext()
        self.wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
        self.evaluations: list[float] = []
        self.figures: dict[str, float] = {}

    def step(self) -> None:
        from torch.profiler import ProfilerActivity, profile

        from ner.training import machine

        self.done += 1
        if self.done == WARM_UP:
            self.wait()
            self.started = time.perf_counter()
        if self.done == WARM_UP + self.args.timed:
            self.wait()
            seconds = time.perf_counter() - self.started
            trained = sum(sentences_of(number, self.sentences, self.args.batch_size)
                          for number in range(WARM_UP, self.done))
            self.figures |= {"sentences/s": trained / seconds, "ms": 1000 * seconds / self.args.timed,
                             "memory MiB": machine.peak_memory_mib(self.device)}
            self.profiler = profile(activities=[getattr(ProfilerActivity, self.device.type.upper())])
            self.profiler.__enter__()
        if self.done == WARM_UP + 2 * self.args.timed:
            self.wait()
            self.profiler.__exit__(None, None, None)
            launches, busy = kernels(self.profiler.events())  # type: ignore[attr-defined]
            self.figures |= {"launches": launches / self.args.timed, "busy ms": busy / self.args.timed}

    def evaluation(self, run: Callable[[], object], sentences: int) -> None:
        """Time `run`, which predicts so many sentences."""
        for _ in range(EVALUATIONS):
            self.wait()
            started = time.perf_counter()
            run()
            self.wait()
            self.evaluations.append(sentences / (time.perf_counter() - started))
        self.figures["evaluation"] = statistics.median(self.evaluations)


def sentences_of(number: int, sentences: int, batch_size: int) -> int:
    """In step `number`, from 0: the last step of an epoch has the rest."""
    per_epoch = -(-sentences // batch_size)
    return sentences - (per_epoch - 1) * batch_size if number % per_epoch == per_epoch - 1 else batch_size


def kernels(events: Iterable) -> tuple[int, float]:
    """How many kernels and copies a GPU was asked for, and the milliseconds in which it computed, at least one of them
    at a time. Exchanges with other GPUs do not count as computing: while one waits for the others, it only spins."""
    from torch.autograd import DeviceType

    own = [event for event in events if event.device_type == DeviceType.CUDA and not event.is_user_annotation]
    busy, end = 0.0, 0.0
    for span in sorted((event.time_range.start, event.time_range.end) for event in own if "nccl" not in event.name):
        busy += max(0.0, span[1] - max(span[0], end))
        end = max(end, span[1])
    return len(own), busy / 1000


def ours(args, compiled: bool) -> Meter:
    """Training steps and evaluation of this project."""
    from ner.data import encoded
    from ner.evaluation.predict import predict
    from ner.experiment import experiment
    from ner.training import loop, machine

    options = arms.options_of(args, compile=compiled)
    accelerator = machine.accelerator(options)
    state = experiment.build(options, Path("unused"), accelerator)
    meter = Meter(args, accelerator.device, len(state.training.tokens))
    test = encoded.first(state.test["de"], args.eval_sentences or len(state.test["de"].tokens))
    for _ in loop.steps(state.model, state.optimizer, state.training, state.padding, options, accelerator,
                        state.progress, lambda: False):
        meter.step()
    meter.evaluation(lambda: predict(state.bare, test, state.tags, state.padding, accelerator, options.decode),
                     len(test.tokens))
    return meter


def trainer(args, grouped: bool) -> Meter:
    """The same with ``transformers.Trainer``, in the precision that ours chooses."""
    import torch
    from transformers import TrainerCallback

    from ner.options import Options
    from ner.training import machine

    class Steps(TrainerCallback):
        def on_step_end(self, *_, **__):
            meter.step()

    accelerator = machine.accelerator(Options())
    precision, device, count = accelerator.mixed_precision, accelerator.device, accelerator.num_processes
    torch.backends.cuda.enable_cudnn_sdp(True)  # its default, which ours has switched off
    with tempfile.TemporaryDirectory() as folder:
        peer, test = arms.peer_of(args, folder, lambda batch: batch, Steps(), grouped, bf16=precision == "bf16",
                                  fp16=precision == "fp16", use_cpu=device.type == "cpu",
                                  per_device_train_batch_size=args.batch_size // count)
        meter = Meter(args, device, len(peer.train_dataset))
        peer.train()
        meter.evaluation(lambda: peer.predict(test), len(test))
    return meter


RUNS: dict[str, Callable[[argparse.Namespace], Meter]] = {
    "ours": partial(ours, compiled=False), "ours, compiled": partial(ours, compiled=True),
    "trainer": partial(trainer, grouped=False), "trainer, grouped": partial(trainer, grouped=True)}


def main(argv: list[str]) -> None:
    arm, words = argv
    standard_output, sys.stdout = sys.stdout, sys.stderr  # for the figures only
    meter = RUNS[arm](argparse.Namespace(**json.loads(words)))
    from accelerate import PartialState

    from ner.training import machine

    if PartialState().is_main_process:
        print(json.dumps(meter.figures), file=standard_output, flush=True)
    machine.leave()


if __name__ == "__main__":
    main(sys.argv[1:])
