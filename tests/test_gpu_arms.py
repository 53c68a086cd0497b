"""The benchmark on GPUs as far as CPUs can show it: its arms run, on two processes, too; its figures by hand."""

import argparse
import json
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from torch.autograd import DeviceType

from ner import benchmark, gpu_arms
from tests.helpers import runs
from tests.helpers.paths import ROOT

FIGURES = {"sentences/s": 100.0, "ms": 20.0, "launches": 700.4, "busy ms": 5.0, "memory MiB": 2000.0,
           "evaluation": 800.0}


def test_kernels_and_copies_are_counted_and_annotations_are_not():
    """Of two at the same time, the time counts once, and waiting for other GPUs not at all."""
    def event(kind, start: float, end: float, name: str = "gemm", note: bool = False):
        return SimpleNamespace(device_type=kind, name=name, is_user_annotation=note,
                               time_range=SimpleNamespace(start=start, end=end))

    gpu = DeviceType.CUDA
    events = [event(gpu, 2000, 2500), event(DeviceType.CPU, 0, 9000), event(gpu, 0, 1000), event(gpu, 500, 800),
              event(gpu, 900, 1200), event(gpu, 0, 1500, note=True), event(gpu, 1000, 8000, "ncclDevKernel_AllReduce")]
    assert gpu_arms.kernels(events) == (5, 1.7)


@pytest.mark.parametrize("sentences, expected", [(10, [4, 4, 2, 4, 4, 2]), (8, [4, 4, 4, 4]), (3, [3, 3])])
def test_the_last_step_of_an_epoch_has_the_rest(sentences, expected):
    assert [gpu_arms.sentences_of(number, sentences, 4) for number in range(len(expected))] == expected


def test_the_profiler_has_what_is_counted():
    """Its events have the fields that `kernels` reads, and on a CPU none is a GPU's."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        torch.ones(3).sum()
    assert len(profiler.events()) > 1 and gpu_arms.kernels(profiler.events()) == (0, 0)


def test_table_and_ratios(capsys):
    slow = {**FIGURES, "sentences/s": 50.0, "ms": 40.0, "memory MiB": 4000.0, "evaluation": 400.0}
    table = {f"{arm}, {gpus}": FIGURES if arm.startswith("ours") else slow
             for gpus in ("1 GPU", "2 GPUs") for arm in gpu_arms.RUNS}
    table["ours, compiled, 1 GPU"] = None
    ratios = benchmark.table_of(table)
    assert len(ratios) == 3 * 3 and ratios["ours, compiled, 2 GPUs: training"] == 2.0
    assert ratios["ours, 1 GPU: evaluation"] == 2.0 and ratios["ours, 1 GPU: memory"] == 0.5
    header, first, second, *_ = capsys.readouterr().out.split("\n")
    assert header.split() == ["sentences/s", "ms", "a", "step", "launches", "idle", "memory", "MiB", "evaluation"]
    assert first.split() == ["ours,", "1", "GPU", "100", "20.0", "700", "75%", "2000", "800"]
    assert second.split() == ["ours,", "compiled,", "1", "GPU", *["failed"] * 6]


def test_a_mistake_is_one_sentence(capsys, monkeypatch):
    assert benchmark.main(["--gpu"]) == 2
    assert capsys.readouterr().err == f"ner.benchmark: --gpu: torch {torch.__version__} sees no GPU\n"
    monkeypatch.setattr("torch.cuda.device_count", lambda: 6)
    assert benchmark.main(["--gpu"]) == 2
    assert capsys.readouterr().err == "ner.benchmark: --batch_size: expected a multiple of the 6 GPUs, found 64\n"


def test_an_arm_that_fails_is_named_and_costs_no_other(capfd):
    assert benchmark.gpu_figures("no such arm", argparse.Namespace(steps=1), 1) is None
    assert capfd.readouterr().err.endswith("no such arm: ended with status 1; see its output above\n")


def arguments(tmp_path, timed: int = 4) -> dict:
    recipe = runs.make_recipe(tmp_path)
    return {"data_dir": str(recipe.parent / "data"), "model": str(recipe.parent / "encoder"), "batch_size": 4,
            "steps": gpu_arms.WARM_UP + 2 * timed, "timed": timed, "sentences": None, "eval_sentences": 7,
            "subwords": 128}


@pytest.mark.slow
@pytest.mark.parametrize("arm, processes", [("ours", 1), ("ours", 2), ("trainer", 2), ("trainer, grouped", 1)])
def test_an_arm_for_real(tmp_path, arm, processes):
    """On CPUs, where no kernel of a GPU is seen: all figures but those, from the first process alone."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"] if processes == 2 else []
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *launcher, "-m", "ner.gpu_arms", arm, json.dumps(arguments(tmp_path))],
                          cwd=ROOT, env={**runs.environment(), "ACCELERATE_USE_CPU": "true"}, text=True,
                          capture_output=True, timeout=200)
    seconds = time.perf_counter() - started
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.strip().split("\n")
    found = json.loads(line)
    assert set(found) == set(FIGURES) and found["launches"] == found["busy ms"] == 0
    # 23 sentences (0.629 of 37) are six steps, of which the last has three: of steps 20 to 23, the last.
    assert found["sentences/s"] * found["ms"] == pytest.approx(1000 * 15 / 4)
    assert 0 < 4 * found["ms"] / 1000 < seconds and found["evaluation"] > 0


@pytest.mark.slow
def test_the_compiled_arm_counts_its_steps(tmp_path, monkeypatch):
    monkeypatch.setattr("ner.model.roberta.BACKEND", "eager")
    meter = gpu_arms.RUNS["ours, compiled"](argparse.Namespace(**arguments(tmp_path)))
    assert meter.done == 28 and set(meter.figures) == set(FIGURES)
