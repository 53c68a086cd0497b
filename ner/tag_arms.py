"""The arms of ``python -m ner.benchmark --tag``: this project and transformers' pipeline, each in its own process.

An arm waits for its turn as in ner/arms.py, and reports a `Part` after each.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

PARTS = 5  # turns, each with every fifth text
BATCHES = (1, 8, 32, 128)
FILES = {"ours, exported": "config.json", "ours, exported, bf16": "config.json", "ours, ONNX": "model.onnx",
         "ours, ONNX int8": "model.int8.onnx"}  # that an arm needs in the exported model's folder


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


def ours(args, report, precision: str, small: bool = False, onnx: str | None = None) -> None:
    """`Tagger`, without the threads that ``evaluate.py tag --input`` has for reading and writing. `onnx`: a file in the
    small model's folder, which ONNX Runtime computes."""
    from ner.inference import onnx_file
    from ner.inference.tagger import Tagger

    tagger = Tagger(args.small if small else args.tag, device="cpu", mixed_precision=precision)
    if onnx:
        model: Any = onnx_file.OnnxModel(Path(args.small) / onnx, tagger.trained.model)
        tagger.trained = tagger.trained._replace(model=model)
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
        "ours, exported, bf16": partial(ours, precision="bf16", small=True),
        "ours, ONNX": partial(ours, precision="no", small=True, onnx="model.onnx"),
        "ours, ONNX int8": partial(ours, precision="no", small=True, onnx="model.int8.onnx"),
        **{f"pipeline, batch {size}": partial(pipeline, batch=size) for size in BATCHES},
        f"pipeline, batch {BATCHES[-1]}, sorted": partial(pipeline, batch=BATCHES[-1], by_length=True)}


def possible(args) -> list[str]:
    """The arms that can run here: bf16 where the CPU multiplies it, and what ``evaluate.py export`` has written."""
    from ner.training import machine

    arms = RUNS if machine.cpu_multiplies_bf16() else [arm for arm in RUNS if not arm.endswith("bf16")]
    return [arm for arm in arms if arm not in FILES or args.small and (Path(args.small) / FILES[arm]).is_file()]
