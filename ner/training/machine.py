"""The environment of a run: processes and devices, precision, memory, versions."""

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
    """This process's Accelerator; ``UserError`` for launcher settings that are not supported."""
    # Micro-batches are handled in `loop`; accumulation set in the environment would only divide the gradients.
    result = Accelerator(mixed_precision=precision(mixed_precision),
                         gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1))
    check_distribution(result.distributed_type)
    return result


def check_distribution(kind: DistributedType) -> None:
    """Every process needs the whole model: checkpoints read its parameters by name, and a process that has fewer
    batches to score than another would leave it waiting for the rest of a layer."""
    if kind not in WHOLE_MODEL:
        raise UserError(f"accelerate: {kind.value} splits the model, which is not supported; "
                        f"use configs/accelerate/multi_gpu.yaml (one whole model per process)")


def in_any_process(flag: bool, accelerator: Accelerator) -> bool:
    """Whether `flag` is true in any process; every process must call this."""
    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device), "sum") > 0)


def precision(wanted: str) -> str:
    """The precision to use. ``auto``: what the launcher set, else bf16 or fp16 if the GPU supports it, else fp32."""
    if wanted == "auto":
        wanted = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
        if wanted == "no" and torch.cuda.is_available():
            wanted = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if wanted == "fp16" and not torch.cuda.is_available():
        raise UserError("mixed_precision: fp16 needs a GPU; use no or auto")
    if wanted == "bf16" and not torch.cuda.is_available() and not torch.cpu._is_avx512_bf16_supported():
        print("warning: this CPU emulates bf16, over 100 times slower than fp32; "
              "use mixed_precision: no", file=sys.stderr)
    return wanted


def peak_memory_mib(device: torch.device) -> float:
    """Of this process: memory allocated on the GPU, or resident memory without one."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    if sys.platform == "linux":  # where getrusage includes the peak of the parent process
        line = next(line for line in Path("/proc/self/status").read_text().split("\n") if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


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
