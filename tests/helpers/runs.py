"""A small encoder, a small corpus and runs on them."""

import functools
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ner.data.swiss import generate
from ner.model import builtin
from ner.model.roberta import TokenClassifier
from ner.training import checkpoint
from tests.helpers import doubles
from tests.helpers.models import small_config
from tests.helpers.paths import ROOT

PIECES = 4000  # of the tokenizer's 250,000: a start of half a second instead of three


@functools.cache
def small_tokenizer() -> str:
    """tokenizer.json with the first pieces of the built-in encoder's."""
    tokenizer = json.loads((builtin.encoder_folder() / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["model"]["vocab"] = tokenizer["model"]["vocab"][:PIECES]
    for token in tokenizer["added_tokens"]:
        token["id"] = min(token["id"], PIECES)  # the mask comes after the pieces
    return json.dumps(tokenizer)


def make_encoder(folder: Path) -> Path:
    """A random encoder with the first pieces of the built-in encoder's tokenizer."""
    folder.mkdir()
    (folder / "tokenizer.json").write_text(small_tokenizer(), encoding="utf-8")
    shutil.copy(builtin.encoder_folder() / "tokenizer_config.json", folder)
    config = small_config(vocab_size=PIECES + 1, hidden_size=16, num_hidden_layers=2, intermediate_size=32,
                          max_position_embeddings=130)
    config.save_pretrained(folder)
    generator = torch.Generator().manual_seed(5)
    state = {name: (torch.randn(p.shape, generator=generator) * (1.0 if "word" in name else 0.1)
                    + ("LayerNorm.weight" in name))
             for name, p in TokenClassifier(config).named_parameters() if not name.startswith("classifier")}
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    return folder


def make_corpus(folder: Path, counts: dict[str, tuple[int, int, int]]) -> Path:
    """Sentences of the built-in corpus as files: language -> how many for train, validation and test.

    All of them are from the training side, and overlapping, so that a small model learns something in seconds.
    """
    for lang, numbers in counts.items():
        (folder / lang).mkdir(parents=True)
        sentences = generate.sentences(lang, "train")
        for split, count in zip(("train", "validation", "test"), numbers):
            rows = ("".join(f"{word}\t{tag}\n" for word, tag in zip(*pair)) for pair in sentences[:count])
            (folder / lang / f"{split}.tsv").write_text("\n".join(rows), encoding="utf-8")
    return folder


def make_recipe(folder: Path, **changes) -> Path:
    """Encoder, corpus and recipe of a run of 3 epochs of 10 steps: two seconds, with a checkpoint every fourth step."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = {"data_dir": str(make_corpus(folder / "data", {"de": (37, 10, 12), "fr": (1, 1, 1)})),
              "train_langs": ["de"], "eval_langs": ["de", "fr"],
              "tags": ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"],
              "model": str(make_encoder(folder / "encoder")), "max_length": 128, "epochs": 3, "batch_size": 4,
              "learning_rate": 2e-2, "dropout": 0.02, "log_every": 1, "checkpoint_every": "4"}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({**recipe, **changes}), encoding="utf-8")
    return path


def arguments(recipe: Path, output: Path, *more: str) -> list[str]:
    """The command line of a run."""
    return ["--config", str(recipe), "--output_dir", str(output), *more]


def environment() -> dict[str, str]:
    """For processes that are started: one thread each, and no Hub."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false"}


def start(argv: list[str], processes: int = 1, script: str = "train.py") -> subprocess.Popen:
    """``python train.py argv``, or as many processes of it under Accelerate's launcher; both outputs in one pipe."""
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(processes),
              "--num_machines", "1", "--main_process_port", "0"] if processes > 1 else []
    return subprocess.Popen([sys.executable, *launch, str(ROOT / script), *argv], cwd=ROOT, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            env={**environment(), "ACCELERATE_USE_CPU": "true"}, start_new_session=True)


def run_script(argv: list[str], processes: int = 1, timeout: float = 120) -> tuple[int, str]:
    """Exit status and output of a real run."""
    with start(argv, processes) as process:
        try:
            output, _ = process.communicate(timeout=timeout)
        finally:
            if process.poll() is None:
                process.kill()
    return process.returncode, output


def forked(target, *args) -> multiprocessing.Process:
    """A process of its own that has the imports of a run behind it, which take longer than the run."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ner.experiment.experiment", "torch._dynamo", "tests.helpers.runs"])
    process = context.Process(target=target, args=args)
    process.start()
    return process


def train_main(argv: list[str], log: str, prepare=None, *args) -> None:
    """What a forked process runs: `train.py` with its output in a file and no pictures (a third of a second each);
    `prepare(*args)` before it."""
    import train

    doubles.replace_for_good("confusion_image", doubles.no_picture)
    to_file(log)
    if prepare:
        prepare(*args)
    sys.exit(train.main(argv))


def evaluate_main(argv: list[str], log: str, prepare=None, *args) -> None:
    """What a forked process runs: `evaluate.py`; `prepare(*args)` before it."""
    import evaluate

    to_file(log)
    if prepare:
        prepare(*args)
    sys.exit(evaluate.main(argv))


def to_file(log: str) -> None:
    """Both outputs of this process to the end of a file."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    torch.set_num_threads(1)


def run_forked(argv: list[str], log: Path, prepare=None, *args) -> tuple[int, str]:
    """Exit status (minus the signal of one that was killed) and output of a run in a forked process."""
    log.unlink(missing_ok=True)
    process = forked(train_main, argv, str(log), prepare, *args)
    process.join(120)
    assert not process.is_alive(), log.read_text(encoding="utf-8")
    return process.exitcode, log.read_text(encoding="utf-8")


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a run's numbers: tag -> (step, value)."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def outcome(folder: Path) -> dict:
    """results.json without times, speeds, memory, and what depends on the run's folder."""
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    for key in ("seconds", "sentences_per_second", "tokens_per_second", "peak_memory_mib"):
        results["train"].pop(key)
    results["versions"].pop("git")
    return results | {"name": ""}


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of every safetensors file below a folder."""
    return {f"{path.relative_to(folder)}:{name}": tensor for path in sorted(folder.rglob("*.safetensors"))
            for name, tensor in load_file(path).items()}


def assert_same_run(one: Path, other: Path) -> None:
    """Bit for bit the same metrics, curves, predictions and saved weights.

    And the same last checkpoint: weights, moments, random states.
    """
    assert outcome(one) == outcome(other)
    times = ("train/sentences_per_second",)
    for tag, points in curves(one).items():
        # An evaluation is logged a second time where a kill came after it: the same point twice, and no other.
        assert tag in times or list(dict.fromkeys(curves(other)[tag])) == list(dict.fromkeys(points)), tag
    assert {p.name: p.read_bytes() for p in (one / "predictions").iterdir()} == {
        p.name: p.read_bytes() for p in (other / "predictions").iterdir()}
    ours, theirs = tensors(one / "model"), tensors(other / "model")
    last = max(checkpoint.found(one / "checkpoints"), key=checkpoint.step_of).name
    ours |= tensors(one / "checkpoints" / last)
    theirs |= tensors(other / "checkpoints" / last)
    assert ours.keys() == theirs.keys() and len(ours) > 50
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name
