"""What the environment asks for, and what is made of it: device, precision, kinds of distribution, memory, versions."""

import itertools
import json
import mmap
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType

from ner.options import Options, UserError
from ner.training import machine
from tests.helpers import runs
from tests.helpers.doubles import replace
from tests.helpers.paths import ROOT

CPU, CUDA, MPS = map(torch.device, ("cpu", "cuda", "mps"))
KINDS = ("CPU", "GPU without bf16", "GPU with bf16", "macOS 13", "macOS 14")  # of devices
AUTO = {  # what the launcher asks for -> what becomes of `auto`, by kind; None is refused
    None: ("best", "fp16", "bf16", "no", "no"), "no": ("best", "fp16", "bf16", "no", "no"),
    "bf16": ("bf16", "bf16", "bf16", None, "bf16"), "fp16": (None, *["fp16"] * 4), "fp8": (None,) * 5}
EXPLICIT = {"no": ("no",) * 5, "bf16": AUTO["bf16"], "fp16": AUTO["fp16"]}  # whatever the launcher asks for
REFUSED = {"fp16": "mixed_precision: fp16 needs a GPU; use no or auto",
           "bf16": "mixed_precision: bf16 needs macOS 14; use no or fp16",
           "fp8": "mixed_precision: fp8, set by the launcher, is not supported; expected no, bf16 or fp16"}
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def fresh():
    """No Accelerator yet, and none for the next test."""
    AcceleratorState._reset_state(True)
    yield
    AcceleratorState._reset_state(True)
    torch.use_deterministic_algorithms(False)


def set_launcher(monkeypatch, **settings: str | None) -> None:
    """What `accelerate launch` leaves in the environment; None for nothing."""
    for name, value in settings.items():
        if value is None:
            monkeypatch.delenv(f"ACCELERATE_{name}", raising=False)
        else:
            monkeypatch.setenv(f"ACCELERATE_{name}", value)


def test_only_our_own_micro_batches(monkeypatch):
    """Accelerate would divide every loss by this number."""
    set_launcher(monkeypatch, GRADIENT_ACCUMULATION_STEPS="4")
    assert machine.accelerator(Options(mixed_precision="no")).gradient_accumulation_steps == 1


def set_cpu(monkeypatch, kernels: str, instructions: dict[str, bool | str]) -> None:
    replace(monkeypatch, "torch.backends.cpu.get_cpu_capability", lambda: kernels)
    replace(monkeypatch, "torch.cpu.get_capabilities", lambda: instructions)


@pytest.mark.parametrize("kernels, found, multiplies, faster", [
    ("AVX512", {"avx512_bf16": True, "amx_bf16": False, "cpu_name": "AMD EPYC"}, True, True),
    ("AVX512", {"avx512_bf16": True, "amx_bf16": False, "cpu_name": "Intel Xeon"}, True, False),
    ("AVX512", {"avx512_bf16": True, "amx_bf16": True, "cpu_name": "Intel Xeon"}, True, True),
    ("AVX512", {"avx512_bf16": False, "amx_bf16": True, "cpu_name": "Intel Xeon"}, True, True),
    ("AVX512", {"avx512_bf16": False, "amx_bf16": False, "cpu_name": "AMD EPYC"}, False, False),
    ("AVX2", {"avx512_bf16": True, "amx_bf16": True, "cpu_name": "Intel Xeon"}, False, False),
    ("DEFAULT", {"neon": True}, False, False)])
def test_bf16_on_a_cpu(monkeypatch, capsys, kernels, found, multiplies, faster):
    set_cpu(monkeypatch, kernels, found)
    assert machine.cpu_multiplies_bf16() == multiplies
    assert machine.best_precision(CPU) == ("bf16" if faster else "no")
    assert machine.precision("bf16", CPU) == "bf16" and (capsys.readouterr().err == "") == multiplies


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="about x86")
def test_names_of_pytorch():
    """Those by which `machine` knows a CPU; without them it would silently compute otherwise."""
    assert {"cpu_name", "avx512_bf16", "amx_bf16"} <= torch.cpu.get_capabilities().keys()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="about x86")
def test_a_user_can_forbid_it():
    code = "from ner.training import machine; print(machine.cpu_multiplies_bf16())"
    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
                             env={**os.environ, "ATEN_CPU_CAPABILITY": "avx2"}).stdout
    assert printed == "False\n"


@pytest.mark.parametrize("wanted, launcher, kind, instructions, visible",
                         list(itertools.product(["auto", *EXPLICIT], AUTO, KINDS, [False, True], [False, True])))
def test_precision(monkeypatch, capsys, wanted, launcher, kind, instructions, visible):
    """Every case. It follows the device in use, not what else the machine has (`visible`: a GPU with bf16). The warning
    is for bf16 on a CPU without instructions for it, and for nothing else."""
    set_launcher(monkeypatch, MIXED_PRECISION=launcher)
    on_gpu = kind.startswith("GPU")
    replace(monkeypatch, "torch.cuda.is_available", lambda: on_gpu or visible)
    replace(monkeypatch, "torch.cuda.is_bf16_supported",
            lambda including_emulation=True: including_emulation or kind == "GPU with bf16" or not on_gpu)
    replace(monkeypatch, "torch.backends.mps.is_macos_or_newer", lambda major, minor: int(kind[-2:]) >= major)
    set_cpu(monkeypatch, "AVX512", {"avx512_bf16": instructions})
    device = CPU if kind == "CPU" else CUDA if on_gpu else MPS
    expected = (AUTO[launcher] if wanted == "auto" else EXPLICIT[wanted])[KINDS.index(kind)]
    if expected == "best":
        expected = "bf16" if instructions else "no"
    if expected is None:
        with pytest.raises(UserError) as error:
            machine.precision(wanted, device)
        assert str(error.value) == REFUSED[launcher if wanted == "auto" else wanted]
    else:
        assert machine.precision(wanted, device) == expected
    emulated = expected == "bf16" and kind == "CPU" and not instructions
    warning = "warning: this CPU emulates bf16, over 100 times slower than fp32; use mixed_precision: no\n"
    assert capsys.readouterr() == ("", warning if emulated else "")


@pytest.mark.parametrize("wanted", ["auto", "cpu"])
def test_a_run_on_the_cpu_of_a_machine_with_a_gpu_is_as_on_the_cpu(monkeypatch, fresh, wanted):
    set_launcher(monkeypatch, USE_CPU="true" if wanted == "auto" else None)
    replace(monkeypatch, "torch.cuda.is_available", lambda: True)
    replace(monkeypatch, "torch.cuda.is_bf16_supported", lambda including_emulation=True: True)
    replace(monkeypatch, "torch.accelerator.current_accelerator", lambda check_available: CUDA)
    set_cpu(monkeypatch, "AVX512", {"avx512_bf16": False})
    accelerator = machine.accelerator(Options(device=wanted))
    assert (accelerator.device, accelerator.mixed_precision) == (CPU, "no")


@pytest.mark.parametrize("kind", ["FSDP", "DEEPSPEED", "MEGATRON_LM", "PARALLELISM_CONFIG"])
def test_what_splits_the_model_is_refused(kind):
    machine.check_launcher({f"ACCELERATE_USE_{kind}": "false"})
    with pytest.raises(UserError, match=f"^accelerate: {kind} splits the model, which is not supported; "
                                        "use configs/accelerate/multi_gpu.yaml .one whole model per process.$"):
        machine.check_launcher({f"ACCELERATE_USE_{kind}": "true"})
    assert (ROOT / "configs" / "accelerate" / "multi_gpu.yaml").is_file()


def test_a_launcher_that_compiles_is_refused():
    machine.check_launcher({"ACCELERATE_DYNAMO_BACKEND": "NO"})  # as `accelerate launch` writes it
    with pytest.raises(UserError, match=r"^accelerate: found dynamo_backend INDUCTOR, which is not supported; "
                                        "expected no$"):
        machine.check_launcher({"ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"})


def state(kind: str, device: str, processes: int = 2) -> SimpleNamespace:
    """What Accelerate finds."""
    return SimpleNamespace(distributed_type=DistributedType[kind], device=torch.device(device), num_processes=processes)


@pytest.mark.parametrize("kind", DistributedType)
def test_distribution(kind):
    """Each process has a whole model under most of these, but of other devices no random state is saved."""
    device = {"MULTI_GPU": "cuda:1", "MULTI_CPU": "cpu", "NO": "mps"}.get(kind.value, "xpu:1")
    if device != "xpu:1":
        machine.check_place(state(kind.value, device), "auto", 2)
    else:
        with pytest.raises(UserError, match=f"^device: found xpu .{kind.value}., which is not supported; "
                                            "expected cpu, cuda, mps$"):
            machine.check_place(state(kind.value, device), "auto", 2)


def test_a_single_device_of_another_kind_is_refused():
    with pytest.raises(UserError, match=r"^device: found xpu .NO., which is not supported; expected cpu, cuda, mps$"):
        machine.check_place(state("NO", "xpu", 1), "auto", 1)


def test_accelerate_has_the_device_that_was_asked_for():
    for kind, found, wanted in [("NO", "mps", "mps"), ("MULTI_CPU", "cpu", "cpu"), ("MULTI_GPU", "cuda:3", "cuda")]:
        machine.check_place(state(kind, found), wanted, 2)
    with pytest.raises(UserError, match=r"^device: expected cuda, but Accelerate chose cpu; is ACCELERATE_USE_CPU or "
                                        "ACCELERATE_TORCH_DEVICE set.$"):
        machine.check_place(state("MULTI_CPU", "cpu"), "cuda", 2)


def test_processes_that_do_not_know_of_each_other_are_refused():
    with pytest.raises(UserError, match=r"^accelerate: 3 processes were started, but on mps each would train alone; "
                                        "start one, or use device cpu$"):
        machine.check_place(state("NO", "mps", 1), "auto", 3)
    machine.check_place(state("MULTI_CPU", "cpu", 4), "auto", 1)  # MPI sets no WORLD_SIZE


SENTENCES = {
    ("--device", "cuda"): f"device: cuda is not available, torch {torch.__version__} sees none; use auto or cpu",
    ("--device", "mps"): f"device: mps is not available, torch {torch.__version__} sees none; use auto or cpu",
    "TORCH_DEVICE=meta": "device: found meta (NO), which is not supported; expected cpu, cuda, mps",
    "MIXED_PRECISION=fp8": REFUSED["fp8"], "MIXED_PRECISION=fp16": REFUSED["fp16"],
    "DYNAMO_BACKEND=INDUCTOR": "accelerate: found dynamo_backend INDUCTOR, which is not supported; expected no",
}


@pytest.mark.parametrize("asked", SENTENCES)
@pytest.mark.parametrize("script", ["train.py", "evaluate.py"])
def test_what_is_not_supported_ends_in_one_sentence(monkeypatch, capsys, tmp_path, fresh, script, asked):
    """As the user reads it, before anything is loaded or written."""
    import evaluate
    import train

    options = list(asked) if isinstance(asked, tuple) else []
    if not options:
        set_launcher(monkeypatch, **dict([asked.split("=")]))
    if script == "train.py":
        status = train.main(["--config", str(train.QUICKSTART), "--output_dir", str(tmp_path / "run"), *options])
    else:
        status = evaluate.main(["tag", str(tmp_path / "model"), *options, "Anna"])
    assert status == 2 and capsys.readouterr() == ("", f"{script}: {SENTENCES[asked]}\n")
    assert list(tmp_path.iterdir()) == []


def test_deterministic_algorithms(monkeypatch, fresh):
    """The variable is set before CUDA can start, and a run without the option is not slowed down by one with it."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":0:0")
    places = []
    replace(monkeypatch, "ner.training.machine.place", lambda device: places.append(
        (os.environ["CUBLAS_WORKSPACE_CONFIG"], torch.are_deterministic_algorithms_enabled())) or state("NO", "cpu", 1))
    for wanted in (True, False):
        machine.accelerator(Options(deterministic=wanted))
    assert places == [(":4096:8", True), (":4096:8", False)]
    assert not torch.is_deterministic_algorithms_warn_only_enabled()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_attention_is_not_left_to_cudnn(monkeypatch, fresh, device):
    torch.backends.cuda.enable_cudnn_sdp(True)
    replace(monkeypatch, "ner.training.machine.place", lambda _: state("NO", device, 1))
    machine.accelerator(Options(mixed_precision="no"))
    assert torch.backends.cuda.cudnn_sdp_enabled() == (device == "cpu")
    assert torch.backends.cuda.flash_sdp_enabled() and torch.backends.cuda.mem_efficient_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(True)


def test_setting_of_this_process(fresh):
    found = machine.setting(machine.accelerator(Options()))
    assert found == {"device": machine.device_name(CPU), "device_type": "cpu", "mixed_precision": "no", "processes": 1}
    assert machine.described(found) == f"{found['device']} (cpu), mixed_precision no, 1 process"


@LINUX
def test_name_of_the_cpu(monkeypatch):
    lines = Path("/proc/cpuinfo").read_text()
    if "model name" in lines:
        assert f"model name\t: {machine.device_name(CPU)}\n" in lines
    replace(monkeypatch, "pathlib.Path.read_text", lambda path, **_: "processor\t: 0\nBogoMIPS\t: 50.00\n")  # ARM
    assert machine.device_name(CPU) == (platform.processor() or platform.machine()) != ""


def test_setting_of_gpus(monkeypatch):
    """The precision is the one in use, and the versions of CUDA are known."""
    accelerator = SimpleNamespace(device=torch.device("cuda:1"), mixed_precision="bf16", num_processes=4)
    replace(monkeypatch, "torch.cuda.get_device_name", lambda device: f"NVIDIA H{device.index}00")
    replace(monkeypatch, "torch.version.cuda", "13.0")
    replace(monkeypatch, "torch.backends.cudnn.version", lambda: 91501)
    found = machine.setting(accelerator)
    assert found == {"device": "NVIDIA H100", "device_type": "cuda", "mixed_precision": "bf16", "processes": 4,
                     "cuda": "13.0", "cudnn": 91501}
    assert machine.described(found) == "NVIDIA H100 (cuda), mixed_precision bf16, 4 processes"
    replace(monkeypatch, "torch.backends.mps.get_name", lambda: "Apple M3")
    assert machine.setting(SimpleNamespace(device=MPS, mixed_precision="no", num_processes=1)) == {
        "device": "Apple M3", "device_type": "mps", "mixed_precision": "no", "processes": 1}


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
