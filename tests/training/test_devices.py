"""What only a GPU does, as far as a CPU can show it: fp16, its random state, no float64, deterministic algorithms."""

import signal
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.state import AcceleratorState
from torch.utils._python_dispatch import TorchDispatchMode

from ner.data.collate import TENSORS, Padding, collate, to_device
from ner.evaluation import predict
from ner.model import packing
from ner.model.roberta import TokenClassifier
from ner.training import averaging, checkpoint, loop, optim
from ner.training.loop import Progress
from tests.helpers import doubles, runs
from tests.helpers.doubles import replace
from tests.helpers.models import small_config
from tests.helpers.paths import ROOT
from tests.training.test_loop import OPTIONS, PADDING, make_data, make_model

META = torch.device("meta")
UNSAFE = {"put_", "histc", "bincount", "median", "nll_loss2d_forward", "kthvalue", "grid_sampler_2d", "_ctc_loss",
          "scatter_reduce", "_embedding_bag", "cumsum"}  # operations without a deterministic version on CUDA


class Seen(TorchDispatchMode):
    """The names of all operations, and the kinds of their results on the device."""

    def __init__(self, device: str):
        super().__init__()
        self.device, self.names, self.kinds = device, set(), set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        found = [x for x in torch.utils._pytree.tree_leaves(result) if isinstance(x, torch.Tensor)]
        own = [x.dtype for x in found if x.device.type == self.device]
        self.kinds.update(own)
        if own:
            name = func.overloadpacket.__name__
            self.names.add(name if name != "cumsum" or own[0].is_floating_point else "cumsum of integers")
        return result


@pytest.fixture
def half():
    """An accelerator in fp16 as on a GPU, with a GPU's branches, but on the CPU."""
    AcceleratorState._reset_state(True)
    accelerator = Accelerator()
    accelerator.state._mixed_precision = "fp16"
    accelerator.native_amp, accelerator.scaler = True, torch.amp.GradScaler("cpu", init_scale=2.0**10)
    yield accelerator
    AcceleratorState._reset_state(True)


def train(accelerator: Accelerator) -> tuple[list, torch.nn.Module, torch.optim.Optimizer]:
    model = make_model()
    model, optimizer = accelerator.prepare(model, optim.adamw(model, 1e-3, 0.01))
    return list(loop.steps(model, optimizer, make_data(), PADDING, OPTIONS, accelerator, Progress(),
                           lambda: False)), model, optimizer


def test_fp16_takes_the_steps_of_fp32_up_to_rounding(half):
    """The norm is that of the gradients without the scale, and clipping comes after it is taken off."""
    dtypes = set()
    hook = torch.nn.modules.module.register_module_forward_hook(
        lambda module, inputs, output: dtypes.add(output.dtype) if type(module).__name__ == "Linear" else None)
    found, model, _ = train(half)
    hook.remove()
    assert dtypes == {torch.float16} and {p.dtype for p in model.parameters()} == {torch.float32}
    AcceleratorState._reset_state(True)
    expected, other, _ = train(Accelerator())
    assert all(result.moved for result in found) and len(found) == 2
    for ours, theirs in zip(found, expected):
        assert ours.loss == pytest.approx(theirs.loss, rel=2e-3)
        assert ours.grad_norm == pytest.approx(theirs.grad_norm, rel=2e-2)
    for (name, ours), theirs in zip(model.named_parameters(), other.parameters()):
        assert (ours - theirs).abs().max() <= 2e-3, name  # two steps of at most 1e-3


def test_the_mean_of_snapshots_in_fp16_is_that_of_the_fp32_weights(half):
    model = make_model()
    model, optimizer = half.prepare(model, optim.adamw(model, 1e-3, 0.01))
    mean, copies = {}, []
    for _ in loop.steps(model, optimizer, make_data(), PADDING, OPTIONS, half, Progress(), lambda: False):
        averaging.add_snapshot(mean, model, len(copies))
        copies.append({name: parameter.detach().clone() for name, parameter in model.named_parameters()})
    assert len(copies) == 2 and mean.keys() == copies[0].keys()
    for name, tensor in mean.items():
        assert tensor.dtype == torch.float32 and not torch.equal(copies[0][name], copies[1][name])
        torch.testing.assert_close(tensor, torch.stack([copy[name] for copy in copies]).mean(0))


def test_the_scale_of_fp16_is_in_the_checkpoint(half, tmp_path):
    _, model, optimizer = train(half)
    half.scaler.update(64.0)
    checkpoint.write(tmp_path, half, model, optimizer, Progress(step=2), {}, {})
    half.scaler.update(2.0)
    checkpoint.read(tmp_path / "step-2", half, model, optimizer, {})
    assert half.scaler.get_scale() == 64


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_the_random_state_of_the_gpu_in_use_is_saved_and_restored(monkeypatch, kind):
    state, restored = torch.arange(5, dtype=torch.uint8), []
    module = SimpleNamespace(get_rng_state=lambda: state, set_rng_state=restored.append)
    replace(monkeypatch, "torch.get_device_module", lambda device: {torch.device(kind): module}[device])
    saved = checkpoint.random_state(torch.device(kind))
    assert set(saved) == {"torch", kind, "words"}
    checkpoint.restore_random_state(saved, torch.device(kind))
    assert len(restored) == 1 and torch.equal(restored[0], state)
    cpu = torch.device("cpu")  # whatever GPU the machine has
    assert set(checkpoint.random_state(cpu)) == {"torch", "words"}
    checkpoint.restore_random_state(saved, cpu)
    assert len(restored) == 1


@pytest.mark.parametrize("attention", ["packed", "padded"])
def test_no_float64_and_no_unsafe_operation_on_the_device(attention):
    """A Mac's GPU has no float64; `deterministic` refuses some operations. A step and an evaluation without numbers."""
    model = TokenClassifier(small_config(), attention).to(META)
    model.classifier.class_weights, model.classifier.label_smoothing = [1.0, 2.0, 1.0, 1.0, 0.5], 0.1
    optimizer = torch.optim.AdamW(model.parameters(), foreach=True)
    accelerator = SimpleNamespace(device=META, num_processes=2, backward=torch.Tensor.backward)
    data = make_data()
    batches, words = loop.step_batches(data, PADDING, 0, OPTIONS, 0, 2)
    with Seen("meta") as seen:
        model.train()
        assert loop.accumulate(model, batches, words, accelerator).device == META
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        model.eval()
        batch = collate([windows[0] for windows in data.windows], Padding(1, "left"))
        with torch.no_grad():
            predict.answer(model, to_device(batch, META))
    assert {"nll_loss_backward", "embedding_dense_backward"} <= seen.names  # it looks into the backward pass
    assert torch.float32 in seen.kinds and torch.int64 in seen.kinds and torch.float64 not in seen.kinds
    assert not seen.names & UNSAFE


def test_float64_and_unsafe_operations_would_be_seen():
    with Seen("meta") as seen:
        torch.zeros(3, dtype=torch.float64, device=META).cumsum(0)
        torch.zeros(3, dtype=torch.int64, device=META).cumsum(0)
    assert torch.float64 in seen.kinds and {"cumsum", "cumsum of integers"} <= seen.names


BATCH = {key: torch.arange(12).view(shape) + number for number, (key, shape) in enumerate(
    zip(TENSORS, [(3, 4), (3, 4), (3, 4), (12,), (12,)], strict=True))} | {"lengths": [4, 4, 4], "words": [1, 1, 1]}


def test_only_cuda_copies_without_waiting(monkeypatch):
    """On a Mac's GPU such a copy can read memory that is in use again."""
    asked = []
    replace(monkeypatch, "torch.Tensor.to", lambda tensor, device, non_blocking=False: asked.append(
        (device.type, non_blocking)) or tensor)
    replace(monkeypatch, "torch.Tensor.pin_memory", lambda tensor: tensor)
    for kind in ("mps", "cuda", "cpu"):
        packing.sent(torch.zeros(1), torch.device(kind))
        moved = to_device(BATCH, torch.device(kind))
        assert all(torch.equal(moved[key], BATCH[key]) for key in TENSORS)
    assert asked == [("mps", False)] * 6 + [("cuda", True)] * 2 + [("cpu", False)] * 6, "one copy of a whole batch"


@pytest.mark.parametrize("name, machines, processes", [("multi_gpu", 1, 2), ("multi_node", 2, 8)])
def test_accelerate_reads_its_recipes(name, machines, processes):
    """It refuses a file with a key that it does not know."""
    config = load_config_from_file(str(ROOT / "configs" / "accelerate" / f"{name}.yaml"))
    assert (config.distributed_type, config.num_machines, config.num_processes) == ("MULTI_GPU", machines, processes)
    assert (config.mixed_precision, config.dynamo_config, config.use_cpu) == (
        "no", {"dynamo_backend": "no"}, False)


@pytest.mark.slow
def test_on_a_cpu_a_deterministic_run_is_the_same_run_and_continues_any(tmp_path):
    """It uses other algorithms there, too, so this also shows that a step has nothing without one."""
    recipe = runs.make_recipe(tmp_path, epochs=1)
    stop = (doubles.signal_at, 4, signal.SIGTERM)
    plain, other = tmp_path / "plain", tmp_path / "other"
    assert runs.run_forked(runs.arguments(recipe, plain), tmp_path / "log")[0] == 0
    assert runs.run_forked(runs.arguments(recipe, other), tmp_path / "log", *stop)[0] == 143
    status, log = runs.run_forked(["--resume", "--output_dir", str(other), "--deterministic", "true"], tmp_path / "log")
    assert status == 0 and "continuing after step 5 of 10" in log, log
    ours, theirs = runs.tensors(plain / "model"), runs.tensors(other / "model")
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
