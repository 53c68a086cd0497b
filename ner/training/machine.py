"""The environment of a run: processes and devices, precision, memory, versions."""

import contextlib
import gc
import os
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import torch
import transformers
from accelerate import Accelerator, PartialState
from accelerate.utils import (
    DistributedDataParallelKwargs,
    DistributedType,
    GradientAccumulationPlugin,
    parse_flag_from_env,
)

from ner.options import Options, UserError, shown

DEVICES = ("cpu", "cuda", "mps")  # on others, a run would continue with other random numbers
WHOLE_MODEL = (DistributedType.NO, DistributedType.MULTI_GPU, DistributedType.MULTI_CPU)
SPLITTING = ("FSDP", "DEEPSPEED", "MEGATRON_LM", "PARALLELISM_CONFIG")
# How long a process waits for the others, above all while the first one downloads or writes. After the default of ten
# minutes, NCCL would end a run whose model comes slowly. If a process dies, the launcher ends the others at once.
PATIENCE = timedelta(days=1)


def accelerator(options: Options) -> Accelerator:
    """This process's Accelerator, after `options`: device, mixed_precision, deterministic. ``UserError`` for what is
    not available here, and for settings of the launcher that are not supported."""
    check_launcher(os.environ)
    be_deterministic(options.deterministic)
    state = place(options.device)
    if state.device.type == "cuda":
        # cuDNN is PyTorch's first choice on Hopper. It makes a plan for each shape, and here every batch has another
        # one; and with masks its backward pass can give NaN (pytorch/pytorch#196678).
        torch.backends.cuda.enable_cudnn_sdp(False)
    # Micro-batches are handled in `loop`; accumulation set in the environment would only divide the gradients.
    # Gradients that are views of DDP's buckets save a copy of all of them.
    return Accelerator(mixed_precision=precision(options.mixed_precision, state.device),
                       gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
                       kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)])


def check_launcher(environment: Mapping[str, str]) -> None:
    """``UserError`` for settings of Accelerate's launcher that are not supported.

    Every process needs the whole model: checkpoints read its parameters by name, and a process that has fewer batches
    to score than another would leave it waiting for the rest of a layer.
    """
    for name in SPLITTING:
        if environment.get(f"ACCELERATE_USE_{name}", "false").lower() == "true":
            raise UserError(f"accelerate: {name} splits the model, which is not supported; "
                            f"use configs/accelerate/multi_gpu.yaml (one whole model per process)")
    backend = environment.get("ACCELERATE_DYNAMO_BACKEND", "no")
    if backend.lower() != "no":  # it would compile again for nearly every batch, as each has another shape
        raise UserError(f"accelerate: found dynamo_backend {backend}, which is not supported; expected no")


def be_deterministic(wanted: bool) -> None:
    """Let PyTorch choose only algorithms that give the same numbers every time, or not; before CUDA starts."""
    if wanted:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # cuBLAS reads it once
    torch.use_deterministic_algorithms(wanted)


def place(device: str) -> PartialState:
    """This process's device and its place among the others; ``UserError`` for a device that is not available."""
    if (device == "cuda" and not torch.cuda.is_available()
            or device == "mps" and not torch.backends.mps.is_available()):
        raise UserError(f"device: {device} is not available, torch {torch.__version__} sees none; use auto or cpu")
    # Without `cpu`, Accelerate does not let processes on CPUs know of each other: each would train alone.
    cpu = (device == "cpu" or parse_flag_from_env("ACCELERATE_USE_CPU")
           or torch.accelerator.current_accelerator(check_available=True) is None)
    state = PartialState(cpu=cpu, timeout=PATIENCE)
    check_place(state, device, int(os.environ.get("WORLD_SIZE", 1)))
    return state


def check_place(state: PartialState, device: str, started: int) -> None:
    """``UserError`` unless Accelerate's choice is one that we support, is `device` (or that is auto), and joins all the
    `started` processes."""
    found = state.device.type
    if state.distributed_type not in WHOLE_MODEL or found not in DEVICES:
        raise UserError(f"device: found {found} ({state.distributed_type.value}), which is not supported; "
                        f"expected {', '.join(DEVICES)}")
    if device not in ("auto", found):
        raise UserError(f"device: expected {device}, but Accelerate chose {found}; is ACCELERATE_USE_CPU or "
                        f"ACCELERATE_TORCH_DEVICE set?")
    if state.num_processes < started:
        raise UserError(f"accelerate: {started} processes were started, but on {found} each would train alone; "
                        f"start one, or use device cpu")


def apart() -> tuple[int, int]:
    """This process's number and how many there are, from a launcher's RANK and WORLD_SIZE. They are then forgotten:
    each computes alone, and none waits for another. ``UserError`` unless the number is below the count."""
    given = {name: os.environ.pop(name, default)
             for name, default in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1"))}
    for name, value in given.items():
        if not re.fullmatch("[0-9]{1,9}", value):
            raise UserError(f"{name}: expected a whole number, found {shown(value)}")
    rank, local, processes = map(int, given.values())
    if rank >= processes:
        raise UserError(f"RANK: expected a number below WORLD_SIZE, {processes}, counted from 0, found {rank}")
    if torch.cuda.is_available():
        torch.cuda.set_device(local % torch.cuda.device_count())
    return rank, processes


def in_any_process(flag: bool, accelerator: Accelerator) -> bool:
    """Whether `flag` is true in any process; every process must call this."""
    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device), "sum") > 0)


def precision(wanted: str, device: torch.device) -> str:
    """The precision to use on a device. ``auto``: what the launcher set, else what suits the device."""
    if wanted == "auto":
        wanted = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
        if wanted == "no":
            wanted = best_precision(device)
    if wanted not in ("no", "bf16", "fp16"):
        raise UserError(f"mixed_precision: {wanted}, set by the launcher, is not supported; expected no, bf16 or fp16")
    if wanted == "fp16" and device.type == "cpu":
        raise UserError("mixed_precision: fp16 needs a GPU; use no or auto")
    if wanted == "bf16" and device.type == "mps" and not torch.backends.mps.is_macos_or_newer(14, 0):
        raise UserError("mixed_precision: bf16 needs macOS 14; use no or fp16")
    if wanted == "bf16" and device.type == "cpu" and not cpu_multiplies_bf16():
        print("warning: this CPU emulates bf16, over 100 times slower than fp32; "
              "use mixed_precision: no", file=sys.stderr)
    return wanted


def best_precision(device: torch.device) -> str:
    """What ``auto`` means where the launcher says nothing: the fastest that the device computes itself, but on a Mac's
    GPU fp32."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if device.type == "cpu" and cpu_is_faster_in_bf16() else "no"


def cpu_multiplies_bf16() -> bool:
    """Whether the CPU has instructions for bf16 and PyTorch may use them; ATEN_CPU_CAPABILITY=avx2 forbids it."""
    found = torch.cpu.get_capabilities()  # without these names on other architectures than x86
    return (torch.backends.cpu.get_cpu_capability() == "AVX512"
            and (found.get("avx512_bf16", False) or found.get("amx_bf16", False)))


def cpu_is_faster_in_bf16() -> bool:
    """Whether bf16 pays on this CPU: on Intel's, AVX-512 BF16 without AMX multiplies at 0.6 times the rate of fp32
    (docs/speed.md)."""
    found = torch.cpu.get_capabilities()
    return cpu_multiplies_bf16() and (found.get("amx_bf16", False) or "Intel" not in found.get("cpu_name", ""))


def setting(accelerator: Accelerator) -> dict:
    """Where and how a run computes, for results.json; the device is that of this process."""
    device = accelerator.device
    found = {"device": device_name(device), "device_type": device.type,
             "mixed_precision": accelerator.mixed_precision, "processes": accelerator.num_processes}
    if device.type == "cuda":
        found |= {"cuda": torch.version.cuda or torch.version.hip, "cudnn": torch.backends.cudnn.version()}
    return found


def described(found: Mapping) -> str:
    """A `setting` in words: ``AMD EPYC (cpu), mixed_precision no, 2 processes``."""
    processes = "1 process" if found["processes"] == 1 else f"{found['processes']} processes"
    return f"{found['device']} ({found['device_type']}), mixed_precision {found['mixed_precision']}, {processes}"


def device_name(device: torch.device) -> str:
    """The model of a GPU or of the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return torch.backends.mps.get_name()
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").split("\n")
    except OSError:  # not Linux
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))  # not on ARM
    return next(named, "") or platform.processor() or platform.machine()


def leave() -> None:
    """Leave the group of processes, as NCCL wants it before the end. Every process must call this, when it no longer
    uses the wrapped model."""
    if torch.distributed.is_initialized():
        gc.collect()  # a wrapped model that is freed after its group can make gloo wait for itself
        torch.distributed.destroy_process_group()


def peak_memory_mib(device: torch.device) -> float:
    """Of this process: memory allocated on the GPU, or resident memory without one."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    if sys.platform == "linux":  # where getrusage includes the peak of the parent process
        line = next(line for line in Path("/proc/self/status").read_text().split("\n") if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def forget_peak_memory() -> None:
    """Free what is unused, so that `peak_memory_mib` is the peak of what follows."""
    gc.collect()
    if torch.cuda.is_initialized():  # not on the CPU of a machine with a GPU
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):  # not on Linux: the peak is then that of the whole process
        Path("/proc/self/clear_refs").write_text("5")


def versions() -> dict[str, str]:
    """What the results depend on apart from the options."""
    try:
        here = Path(__file__).parent
        git = subprocess.run(["git", "describe", "--always", "--dirty"],  # noqa: S607  # the user's git
                             cwd=here, capture_output=True, text=True).stdout.strip()
    except OSError:
        git = ""
    return {"python": platform.python_version(), "torch": torch.__version__,
            "transformers": transformers.__version__, "git": git}
