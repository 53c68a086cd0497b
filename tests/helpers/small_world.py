"""The small world in which the fuzzer breaks things: a corpus in every format, an encoder, runs; calling a script.

What is built in is as small as what is made here, so that a run takes half a second whatever a recipe has lost.
"""

import contextlib
import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from unittest import mock

import torch
import yaml
from accelerate.state import AcceleratorState, GradientState
from transformers.utils import logging

import evaluate
import train
from tests.helpers import doubles, runs
from tests.helpers.annotated import characters, table
from tests.helpers.paths import ROOT

SECONDS, PATIENCE = 30, 240  # of a call: processor time, time on the clock
TEXT = "Anna Keller (ETH) wohnt in St. Gallen, nicht in Zürich."
SUFFIXES = {"tsv": ".tsv", "panx": "", "iob2": ".iob2", "jsonl": ".jsonl", "csv": ".csv", "json": ".json",
            "spans": ".jsonl", "gzip": ".tsv.gz"}
TAGS = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
TRAIN = ["train.py", "--config", "recipe.yaml", "--output_dir", "out"]
STUDY = ["train.py", "--config", "study.yaml"]


class Late(BaseException):
    """A case took too long; not an Exception, so that nothing catches it."""


def late(number, frame):
    """What a signal does after `SECONDS` or `PATIENCE`."""
    raise Late(f"more than {SECONDS} s of processor time, or {PATIENCE} s")


@contextlib.contextmanager
def small_world(base: Path):
    """What is built in is small, nothing reaches the Hub, confusions are not drawn, and runs without a name lie in the
    working directory, which is `base`."""
    sentences = doubles.original("sentences")
    hub = dict.fromkeys(("snapshot_download", "config_names", "load_dataset", "HfApi"), doubles.no_hub)
    small = {"encoder_folder": lambda: base / "encoder", "sentences": lambda *args: sentences(*args)[:8],
             "confusion_image": doubles.no_picture, "RUNS": Path("runs")}
    threads = torch.get_num_threads()
    handlers = {number: signal.signal(number, late) for number in (signal.SIGALRM, signal.SIGPROF)}
    with contextlib.ExitStack() as stack:
        stack.enter_context(doubles.replaced(**hub, **small))
        stack.enter_context(mock.patch.dict(os.environ))
        stack.enter_context(contextlib.chdir(base))
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            for number, handler in handlers.items():
                signal.signal(number, handler)


def write_inputs(base: Path) -> None:
    """Corpus in every format, encoder and recipes; paths in them are relative to `base`."""
    for path in sorted(runs.make_corpus(base / "tsv", {"de": (9, 3, 4), "fr": (3, 2, 2)}).rglob("*.tsv")):
        lang, blocks = path.parent.name, path.read_text(encoding="utf-8").strip("\n").split("\n\n")
        rows = [[line.split("\t") for line in block.split("\n")] for block in blocks]
        texts = {"panx": "\n".join("".join(f"{lang}:{word}\t{tag}\n" for word, tag in row) for row in rows),
                 "iob2": "\n".join("# text\n" + "".join(f"{i}\t{word}\t{tag}\n" for i, (word, tag) in enumerate(row, 1))
                                   for row in rows),
                 "jsonl": "".join(json.dumps(dict(zip(("tokens", "tags"), zip(*row)))) + "\n" for row in rows),
                 "csv": table([["Sentence #", "Word", "Tag"], *([f"Sentence {i}" * (j == 0), *cells]
                               for i, row in enumerate(rows, 1) for j, cells in enumerate(row))]),
                 "json": json.dumps([dict(zip(("words", "ner_tags"), zip(*row))) for row in rows], indent=1),
                 "spans": "".join(json.dumps({"text": text, "label": found}) + "\n"
                                  for text, found in (characters(*zip(*row)) for row in rows)),
                 "gzip": path.read_text(encoding="utf-8")}
        for name, text in texts.items():
            (base / name / lang).mkdir(parents=True, exist_ok=True)
            content = gzip.compress(text.encode(), mtime=0) if name == "gzip" else text.encode()
            (base / name / lang / (path.stem + SUFFIXES[name])).write_bytes(content)
    shutil.copytree(base / "tsv", base / "data")
    runs.make_encoder(base / "encoder")
    recipe = {"data_dir": "data", "train_langs": ["de"], "eval_langs": ["de", "fr"], "model": "encoder", "tags": TAGS,
              "epochs": 1, "max_length": 64, "max_steps": 2, "batch_size": 4, "learning_rate": 1e-2, "log_every": 1,
              "checkpoint_every": "1"}
    (base / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    named = {"runs": {"a": {"seeds": [1, 2]}, "b": None}, "max_steps": 1, "output_dir": "study"}
    (base / "study.yaml").write_text(yaml.safe_dump({**recipe, **named}))


def make_runs() -> None:
    """Two finished runs, a study, and a run that was stopped after its last step."""
    for argv in ([*TRAIN[:-1], "run"], [*TRAIN[:-1], "other", "--seed", "7"], STUDY):
        made(argv)
    with doubles.replaced(remove_checkpoints=doubles.nothing):
        made([*TRAIN[:-1], "stopped"])
    for name in ("model", "predictions"):
        shutil.rmtree(Path("stopped", name))
    Path("stopped", "results.json").unlink()


def made(argv: list[str]) -> None:
    """A call that must succeed."""
    status, out, error = call(argv)
    assert status == 0, f"{status}\n{out}\n{error}"


def call(argv: list[str]) -> tuple[object, str, str]:
    """Exit status (or what else came out of `main`), standard output and error of a script in this process."""
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    out, error = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")
    given = io.TextIOWrapper(io.BytesIO(TEXT.encode()), "utf-8")
    theirs = mock.patch.object(logging._default_handler, "stream", error)  # it holds on to the first standard error
    with (contextlib.redirect_stdout(out), contextlib.redirect_stderr(error), theirs,
          mock.patch.object(sys, "stdin", given)):
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.alarm(PATIENCE)
        try:
            status = {"train.py": train, "evaluate.py": evaluate}[argv[0]].main(argv[1:])
        except SystemExit as stop:  # --help
            status = stop.code
        except KeyboardInterrupt:
            raise
        except BaseException:  # a panic of Rust is no Exception
            status = traceback.format_exc()
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.alarm(0)
    return status, *(stream.buffer.getvalue().decode() for stream in (out, error) if not stream.flush())


def real(argv: list[str]) -> tuple[object, str, str]:
    """The same for a new process."""
    command = [sys.executable, str(ROOT / argv[0]), *argv[1:]]
    done = subprocess.run(command, env=runs.environment(), input=TEXT, capture_output=True, timeout=PATIENCE,
                          encoding="utf-8")
    return done.returncode, done.stdout, done.stderr
