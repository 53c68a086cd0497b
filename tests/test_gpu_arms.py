"""The benchmark on GPUs as far as CPUs can show it: its arms run, on two processes, too; its figures by hand."""

import argparse
import json
import subprocess
import sys
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
    def event(kind, microseconds: float, note: bool = False):
        return SimpleNamespace(device_type=kind, is_user_annotation=note,
                               time_range=SimpleNamespace(elapsed_us=lambda: microseconds))

    events = [event(DeviceType.CUDA, 300), event(DeviceType.CPU, 9000), event(DeviceType.CUDA, 1200),
              event(DeviceType.CUDA, 1500, note=True)]
    assert gpu_arms.kernels(events) == (2, 1.5)


def test_the_profiler_has_what_is_counted():
    """Its events have the fields that `kernels` reads, and on a CPU none is a GPU's."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        torch.ones(3).sum()
    assert len(profiler.events()) > 1 and gpu_arms.kernels(profiler.events()) == (0, 0)


def test_table_and_ratios(capsys):
    slow = {**FIGURES, "sentences/s": 50.0, "ms": 40.0, "memory MiB": 4000.0, "evaluation": 400.0}
    table = {f"{arm}, {gpus}": FIGURES if arm.startswith("ours") else slow
             for gpus in ("1 GPU", "2 GPUs") for arm in gpu_arms.RUNS}
    ratios = benchmark.table_of(table)
    assert len(ratios) == 2 * 2 * 3 and ratios["ours, compiled, 2 GPUs: training"] == 2.0
    assert ratios["ours, 1 GPU: evaluation"] == 2.0 and ratios["ours, 1 GPU: memory"] == 0.5
    header, first, *_ = capsys.readouterr().out.split("\n")
    assert header.split() == ["sentences/s", "ms", "a", "step", "launches", "idle", "memory", "MiB", "evaluation"]
    assert first.split() == ["ours,", "1", "GPU", "100", "20.0", "700", "75%", "2000", "800"]


@pytest.mark.parametrize("argv, message", [
    (["--gpu"], f"--gpu: torch {torch.__version__} sees no GPU"),
    (["--gpu", "--steps=20"], "--steps: expected at least 26 with --gpu, found 20")])
def test_a_mistake_is_one_sentence(capsys, argv, message):
    assert benchmark.main(argv) == 2
    assert capsys.readouterr().err == f"ner.benchmark: {message}\n"


def test_an_arm_that_fails_is_named(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(benchmark.UserError, match=r"no such arm: ended with status 1 \(GPUs: 1\);"):
        benchmark.gpu_figures("no such arm", argparse.Namespace(), 1)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("arm", ["ours", "trainer"])
def test_an_arm_for_real(tmp_path, arm, processes):
    """On CPUs, where no kernel of a GPU is seen: all figures but those, from the first process alone."""
    recipe = runs.make_recipe(tmp_path)
    arguments = {"data_dir": str(recipe.parent / "data"), "model": str(recipe.parent / "encoder"), "batch_size": 4,
                 "steps": 27, "sentences": None, "eval_sentences": 7, "subwords": 128}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"] if processes == 2 else []
    done = subprocess.run([sys.executable, *launcher, "-m", "ner.gpu_arms", arm, json.dumps(arguments)],
                          cwd=ROOT, env={**runs.environment(), "ACCELERATE_USE_CPU": "true"}, text=True,
                          capture_output=True, timeout=200)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.strip().split("\n")
    found = json.loads(line)
    assert set(found) == set(FIGURES) and found["launches"] == found["busy ms"] == 0
    assert found["sentences/s"] * found["ms"] == pytest.approx(4 * 1000) and found["evaluation"] > 0
