"""The compiled encoder: the same numbers, few graphs for all lengths and no breaks in them."""

import signal

import numpy as np
import pytest
import torch
import torch._dynamo.testing

from ner.data.alignment import IGNORED, Window
from ner.data.collate import Padding, collate, to_device
from ner.model import roberta
from tests.helpers import doubles, runs
from tests.helpers.models import small_config

MODES = ("training", "evaluation")


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def batches(count: int, device: str = "cpu"):
    """Windows of 3 to 38 subwords, in batches of 2 to 30; in the last two all have one length."""
    generator = np.random.default_rng(0)
    for number in range(count):
        rows = generator.integers(2, 31)
        lengths = generator.integers(3, 39, rows) if number < count - 2 else [7] * rows
        windows = [Window(generator.integers(4, 40, n, np.int32),
                          np.where(np.arange(n) % 2, generator.integers(0, 5, n, np.int32), IGNORED), 0)
                   for n in lengths]
        yield to_device(collate(windows, Padding(1, "right")), torch.device(device))


def pair(dropout: float, attention: str = "packed", backend="aot_eager", device: str = "cpu", layers: int = 3):
    """A model, and the same one compiled; how often that happens is counted."""
    torch.manual_seed(0)
    config = small_config(num_hidden_layers=layers, hidden_dropout_prob=dropout,
                          attention_probs_dropout_prob=dropout)
    plain, fast = (roberta.TokenClassifier(config, attention).to(device) for _ in range(2))
    fast.load_state_dict(plain.state_dict())
    counter = torch._dynamo.testing.CompileCounterWithBackend(backend)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(roberta, "BACKEND", counter)
        roberta.compile_body(fast)
    return plain, fast, counter


def same(plain, fast, batch, tolerance: float) -> None:
    losses = [model(**batch) for model in (plain, fast)]
    torch.testing.assert_close(losses[1], losses[0], atol=tolerance, rtol=tolerance)
    if plain.training:
        for model, loss in zip((plain, fast), losses, strict=True):
            model.zero_grad()
            loss.backward()
        for (name, ours), theirs in zip(plain.named_parameters(), fast.parameters(), strict=True):
            torch.testing.assert_close(theirs.grad, ours.grad, atol=tolerance, rtol=tolerance, msg=name)


@pytest.mark.parametrize("attention", ["packed", "padded"])
def test_the_same_numbers_from_a_few_graphs(attention):
    plain, fast, counter = pair(0.0, attention)
    for mode in MODES:
        for batch in batches(8):
            same(plain.train(mode == "training"), fast.train(mode == "training"), batch, 2e-5)
    assert counter.frame_count <= 6 and not torch._dynamo.utils.counters["graph_break"]


def test_on_a_gpu_dropout_breaks_no_graph():
    """Tensors without numbers take a GPU's branch; on a CPU, the project's own dropout breaks graphs."""
    _, fast, counter = pair(0.1, backend="eager", device="meta")
    for mode in MODES:
        for batch in batches(8, "meta"):
            fast.train(mode == "training")(**batch)
    assert counter.frame_count <= 6 and not torch._dynamo.utils.counters["graph_break"]


def test_parameters_keep_their_names():
    plain, fast, _ = pair(0.0)
    assert list(fast.state_dict()) == list(plain.state_dict())
    assert fast.one_group and not plain.one_group


@pytest.mark.slow
def test_the_same_numbers_from_inductor():
    plain, fast, _ = pair(0.0, backend="inductor", layers=2)
    for mode in MODES:
        for batch in batches(3):
            same(plain.train(mode == "training"), fast.train(mode == "training"), batch, 1e-4)


def without_a_compiler() -> None:
    doubles.keep_checkpoints()
    roberta.BACKEND = "aot_eager"


@pytest.mark.slow
def test_a_run_learns_the_same_and_is_continued_bit_for_bit(tmp_path):
    recipe = runs.make_recipe(tmp_path, epochs=1, dropout=0)
    paths = {name: tmp_path / name for name in ("plain", "compiled", "stopped")}
    more = ("--compile", "true")
    assert runs.run_forked(runs.arguments(recipe, paths["plain"]), tmp_path / "log", doubles.keep_checkpoints)[0] == 0
    argv = runs.arguments(recipe, paths["compiled"], *more)
    status, log = runs.run_forked(argv, tmp_path / "log", without_a_compiler)
    assert status == 0, log
    theirs, ours = (runs.curves(paths[name])["train/loss"] for name in ("plain", "compiled"))
    assert len(ours) == 10 and [loss for _, loss in ours] == pytest.approx([loss for _, loss in theirs], rel=1e-3)
    argv = runs.arguments(recipe, paths["stopped"], *more)
    assert runs.run_forked(argv, tmp_path / "log", stopped)[0] == -9
    assert runs.run_forked([*argv, "--resume"], tmp_path / "log", without_a_compiler)[0] == 0
    runs.assert_same_run(paths["stopped"], paths["compiled"])
    status, log = runs.run_forked([*runs.arguments(recipe, paths["plain"]), "--resume", *more], tmp_path / "log")
    assert status == 2 and "compile" in log


def stopped() -> None:
    without_a_compiler()
    doubles.signal_at(6, signal.SIGKILL)
