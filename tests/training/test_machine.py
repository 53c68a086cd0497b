"""What the environment asks for, and what is made of it: precision, kinds of distribution, memory, versions."""

import itertools
import json
import mmap
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from accelerate.utils import DistributedType

from ner.options import UserError
from ner.training import machine
from tests.helpers import runs
from tests.helpers.doubles import replace
from tests.helpers.paths import ROOT

GPUS = ("none", "without bf16", "with bf16")
AUTO = {  # what the launcher asks for -> what becomes of `auto`, by GPU; None is refused
    None: ("no", "fp16", "bf16"), "no": ("no", "fp16", "bf16"), "bf16": ("bf16",) * 3, "fp16": (None, "fp16", "fp16")}
EXPLICIT = {"no": ("no",) * 3, "bf16": ("bf16",) * 3, "fp16": (None, "fp16", "fp16")}  # whatever the launcher asks for
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_only_our_own_micro_batches(monkeypatch):
    """Accelerate would divide every loss by this number."""
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    assert machine.accelerator("no").gradient_accumulation_steps == 1


@pytest.mark.parametrize("wanted, launcher, gpu, instructions",
                         list(itertools.product(["auto", *EXPLICIT], AUTO, GPUS, [False, True])))
def test_precision(monkeypatch, capsys, wanted, launcher, gpu, instructions):
    """Every case; the warning is for bf16 on a CPU without instructions for it, and for nothing else."""
    if launcher is None:
        monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    else:
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", launcher)
    replace(monkeypatch, "torch.cuda.is_available", lambda: gpu != "none")
    replace(monkeypatch, "torch.cuda.is_bf16_supported",
            lambda including_emulation=True: including_emulation or gpu == "with bf16")
    replace(monkeypatch, "torch.cpu._is_avx512_bf16_supported", lambda: instructions)
    expected = (AUTO[launcher] if wanted == "auto" else EXPLICIT[wanted])[GPUS.index(gpu)]
    if expected is None:
        with pytest.raises(UserError) as error:
            machine.precision(wanted)
        assert str(error.value) == "mixed_precision: fp16 needs a GPU; use no or auto"
    else:
        assert machine.precision(wanted) == expected
    emulated = expected == "bf16" and gpu == "none" and not instructions
    warning = "warning: this CPU emulates bf16, over 100 times slower than fp32; use mixed_precision: no\n"
    assert capsys.readouterr() == ("", warning if emulated else "")


@pytest.mark.parametrize("kind", DistributedType)
def test_distribution(kind):
    if kind.value in ("NO", "MULTI_GPU", "MULTI_CPU"):
        machine.check_distribution(kind)
    else:
        with pytest.raises(UserError, match=f"^accelerate: {kind.value} splits the model, which is not supported; "
                                            "use configs/accelerate/multi_gpu.yaml .one whole model per process.$"):
            machine.check_distribution(kind)
    assert (ROOT / "configs" / "accelerate" / "multi_gpu.yaml").is_file()


@LINUX
def test_peak_memory_grows_and_stays():
    size, cpu = 256, torch.device("cpu")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    before = machine.peak_memory_mib(cpu)
    with mmap.mmap(-1, size * 2**20) as block:  # never a piece of what the process once had and gave back
        np.frombuffer(block, np.uint8)[:] = 1
        during = machine.peak_memory_mib(cpu)
    assert size / 2 < during - before < 2 * size
    assert machine.peak_memory_mib(cpu) == pytest.approx(during, abs=size / 4)


@LINUX
@pytest.mark.slow
def test_peak_memory_is_not_that_of_the_parent():
    """Whose peak is what `getrusage` begins with in a process that it starts."""
    program = ("import json, resource, torch; from ner.training import machine; "
               "print(json.dumps([machine.peak_memory_mib(torch.device('cpu')), "
               "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10]))")
    block = np.ones(3 * 2**29, np.uint8)
    done = subprocess.run([sys.executable, "-c", program], env=runs.environment(), cwd=ROOT, capture_output=True,
                          text=True, check=True)
    own, usage = json.loads(done.stdout)
    assert own < block.nbytes / 2**20 / 2 < usage


@pytest.mark.parametrize("system, unit", [("darwin", 1), ("freebsd14", 2**10)])
def test_peak_memory_without_proc(monkeypatch, system, unit):
    replace(monkeypatch, "sys.platform", system)
    replace(monkeypatch, "resource.getrusage", lambda who: SimpleNamespace(ru_maxrss=300 * 2**20 // unit))
    assert machine.peak_memory_mib(torch.device("cpu")) == 300


def test_peak_memory_of_a_gpu(monkeypatch):
    replace(monkeypatch, "torch.cuda.max_memory_allocated", lambda: 300 * 2**20)
    assert machine.peak_memory_mib(torch.device("cuda")) == 300


def test_versions(monkeypatch, tmp_path):
    """Of this repository, from wherever it is called; without git they are known all the same."""
    here = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout
    monkeypatch.chdir(tmp_path)
    found = {"python": platform.python_version(), "torch": torch.__version__, "git": here.strip(),
             "transformers": transformers.__version__}
    assert machine.versions() == found
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.versions() == {**found, "git": ""}
