"""Whole runs on the GPU: stopped and continued, and on two GPUs."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch

from tests.helpers import runs
from tests.helpers.paths import ROOT


def run(argv: list[str], gpus: int = 1, script: str = "train.py", stop_after: str = "") -> str:
    """The output of a script on so many GPUs; it gets SIGTERM when it has written `stop_after`, and must then stop."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(gpus)] if gpus > 1 else []
    lines = []
    with subprocess.Popen([sys.executable, *launcher, str(ROOT / script), *argv], cwd=ROOT, text=True,
                          env=runs.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        for line in process.stdout:
            lines.append(line)
            if stop_after and stop_after in line:
                process.send_signal(signal.SIGTERM)
    assert process.returncode == (143 if stop_after else 0), "".join(lines)
    return "".join(lines)


def test_a_deterministic_run_continues_bit_for_bit(gpu, tmp_path):
    recipe = runs.make_recipe(tmp_path, deterministic=True, device="cuda", epochs=20)
    run(runs.arguments(recipe, tmp_path / "whole"))
    stopped = run(runs.arguments(recipe, tmp_path / "stopped"), stop_after="epoch 1:")
    assert "continue with: python train.py --resume" in stopped
    assert "continuing after step" in run(["--resume", "--device", "cuda", "--output_dir", str(tmp_path / "stopped")])
    assert runs.outcome(tmp_path / "whole") == runs.outcome(tmp_path / "stopped")
    ours, theirs = (runs.tensors(tmp_path / name / "model") for name in ("whole", "stopped"))
    assert len(ours) > 30 and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_two_gpus_take_the_steps_of_one(gpu, tmp_path):
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    recipe = runs.make_recipe(tmp_path, batch_size=8, learning_rate=1e-3, epochs=10)
    for gpus in (1, 2):
        run([str(recipe), str(tmp_path / str(gpus))], gpus, "tests/helpers/steps.py")
    one, two = (json.loads((tmp_path / name / "found.json").read_text()) for name in "12")
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-3)
    assert [len(shares) for shares in two["shares"]] == [2, 2]


def test_the_benchmark_counts_kernels(gpu, tmp_path):
    recipe = runs.make_recipe(tmp_path)
    argv = ["--data_dir", str(tmp_path / "data"), "--model", str(recipe.parent / "encoder"), "--steps", "5",
            "--batch_size", str(4 * torch.cuda.device_count())]
    done = subprocess.run([sys.executable, "-m", "ner.benchmark", "--gpu", *argv], cwd=ROOT, env=dict(os.environ),
                          text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.split("\n") if " GPU" in line and "%" in line]
    assert len(rows) == 4 * (1 + (torch.cuda.device_count() > 1)), done.stdout + done.stderr
    assert all(float(row[-4]) > 50 for row in rows), "launches"
    assert json.loads(done.stdout.strip().split("\n")[-1])["ours, 1 GPU: training"] > 0
