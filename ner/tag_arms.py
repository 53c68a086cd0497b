"""The arms of ``python -m ner.benchmark --tag``: this project and transformers' pipeline, each in its own process.

An arm waits for its turn as in ner/arms.py, and reports a `Part` after each.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

PARTS = 5  # turns, each with every fifth text
BATCHES = (1, 8, 32, 128)


class Part(NamedTuple):
    """An arm's report on one part of the texts."""

    seconds: float
    entities: int
    memory: float  # peak of the process so far, in MiB


def part(texts: Sequence[str], number: int) -> list[str]:
    return list(texts[number::PARTS])


def turns(texts: Sequence[str], entities: Callable[[list[str]], int], report: Callable) -> None:
    """Tag a few texts, so that everything is loaded, then one part after another."""
    import torch

    from ner.training import machine

    entities(list(texts[:16]))
    report(None)
    for number in range(PARTS):
        own = part(texts, number)
        started = time.perf_counter()
        found = entities(own)
        report(Part(time.perf_counter() - started, found, machine.peak_memory_mib(torch.device("cpu"))))


def ours(args, report, precision: str, small: bool = False) -> None:
    """`Tagger`, without the threads that ``evaluate.py tag --input`` has for reading and writing."""
    from accelerate import Accelerator

    from ner.inference.tagger import Tagger

    tagger = Tagger(args.small if small else args.tag)
    tagger.accelerator = Accelerator(cpu=True, mixed_precision=precision)  # instead of what suits the machine
    turns(args.texts, lambda texts: sum(map(len, tagger({"text": texts})["entities"])), report)


def pipeline(args, report, batch: int, by_length: bool = False) -> None:
    """The token-classification pipeline with entities put together; `by_length`: the texts sorted first."""
    from transformers import pipeline as of_transformers

    from ner.inference.trained import model_folder

    tag = of_transformers("token-classification", model=str(model_folder(args.tag)), aggregation_strategy="simple",
                          batch_size=batch, device="cpu")

    def entities(texts: list[str]) -> int:
        return sum(map(len, tag(sorted(texts, key=len) if by_length else texts)))

    turns(args.texts, entities, report)


RUNS = {"ours": partial(ours, precision="no"), "ours, bf16": partial(ours, precision="bf16"),
        "ours, exported": partial(ours, precision="no", small=True),
        **{f"pipeline, batch {size}": partial(pipeline, batch=size) for size in BATCHES},
        f"pipeline, batch {BATCHES[-1]}, sorted": partial(pipeline, batch=BATCHES[-1], by_length=True)}
