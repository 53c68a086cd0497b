"""What a run finds around it: processes and devices, precision, memory, versions."""

import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

import torch
import transformers
from accelerate import Accelerator
from accelerate.utils import DistributedType, GradientAccumulationPlugin

from ner.options import UserError

WHOLE_MODEL = (DistributedType.NO, DistributedType.MULTI_GPU, DistributedType.MULTI_CPU)


def accelerator(mixed_precision: str) -> Accelerator:
    """This process's Accelerate; ``UserError`` for launchers' settings that this code does not work with."""
    # Micro-batches are this code's own; one that the environment asks for would only divide the gradients.
    result = Accelerator(mixed_precision=precision(mixed_precision),
                         gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1))
    check_distribution(result.distributed_type)
    return result


def check_distribution(kind: DistributedType) -> None:
    """Every process must hold the whole model: checkpoints read its parameters by name, and a process may have fewer
    batches to score than another, for which a process with the other half of a layer would wait for ever."""
    if kind not in WHOLE_MODEL:
        raise UserError(f"accelerate: {kind.value} cuts the model into pieces, which is not supported here; "
                        f"configs/accelerate/multi_gpu.yaml (a whole model a process) would be right")


def in_any_process(flag: bool, accelerator: Accelerator) -> bool:
    """Whether `flag` is true in some process; every process must ask."""
    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device), "sum") > 0)


def precision(wanted: str) -> str:
    """``auto``: the launcher's bf16 or fp16, else what the GPU is good at, else fp32.

    bf16 without instructions for it runs over 100 times slower on a CPU.
    """
    if wanted == "auto":
        wanted = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
        if wanted == "no" and torch.cuda.is_available():
            wanted = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if wanted == "fp16" and not torch.cuda.is_available():
        raise UserError("mixed_precision: fp16 needs a GPU; no or auto would be right here")
    if wanted == "bf16" and not torch.cuda.is_available() and not torch.cpu._is_avx512_bf16_supported():
        print("warning: this CPU emulates bf16, over 100 times slower than fp32; "
              "mixed_precision: no would be right here", file=sys.stderr)
    return wanted


def peak_memory_mib(device: torch.device) -> float:
    """Of this process: the GPU's allocations, or resident memory without one."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    if sys.platform == "linux":  # where getrusage begins with the peak of whoever started this process
        line = next(line for line in Path("/proc/self/status").read_text().split("\n") if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def versions() -> dict[str, str]:
    """What the figures depend on beside the options."""
    try:
        here = Path(__file__).parent
        git = subprocess.run(["git", "describe", "--always", "--dirty"],  # noqa: S607  # the user's git
                             cwd=here, capture_output=True, text=True).stdout.strip()
    except OSError:
        git = ""
    return {"python": platform.python_version(), "torch": torch.__version__,
            "transformers": transformers.__version__, "git": git}
