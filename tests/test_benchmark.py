"""The benchmark's numbers by hand and for real; its arms take turns, and end with their parent."""

import argparse
import contextlib
import itertools
import json
import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

import evaluate
from ner import benchmark, tag_arms
from ner.arms import Step
from ner.options import UserError
from ner.training import machine
from tests.helpers import runs
from tests.helpers.paths import ROOT


def test_flops_by_hand():
    # one layer, H = 2, I = 3, a window of 4 tokens of which 1 is labelled:
    # 4 tokens of 4*4 + 2*6 + 2*4*2, less 3 of 4 + 12
    assert benchmark.flops([4], 1, 1, 2, 3) == 6 * (4 * (16 + 12 + 16) - 3 * 16)
    assert benchmark.flops([4, 4], 8, 2, 2, 3) == 2 * 6 * 2 * 4 * (16 + 12 + 16)


def test_summary_drops_the_first_steps():
    slow = [Step(100.0, [5], 5, 3, 1.0)] * benchmark.DROPPED
    steps = slow + [Step(1.0, [6, 4], 12, 5, 6.0), Step(2.0, [7, 4, 3], 21, 5, 7.0)]
    assert benchmark.summary(steps, [15.0, 1.0, 16.0]) == {
        "sentences/s": 5 / 3, "median": 1.75, "tokens/s": 8.0, "evaluation": 15.0, "memory MiB": 7.0,
        "padding": pytest.approx(1 - 24 / 33)}


@pytest.mark.slow
def test_a_mistake_is_one_sentence(capfd, tmp_path):
    assert benchmark.main([f"--data_dir={tmp_path}"]) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("ner.benchmark: ") and err.count("\n") == 1


@pytest.mark.slow
def test_a_process_takes_turns_and_ends_with_its_parent():
    args = argparse.Namespace(data_dir=None, model="e5-small", batch_size=4, steps=9, sentences=40, eval_sentences=4,
                              subwords=None)
    with benchmark.process("ours", args) as (about, turn):
        assert about["shape"] == [12, 384, 1536] and about["rows"] > 0
        first, second = turn(), turn()
        assert len(first.lengths) == len(second.lengths) == 4 and first.lengths != second.lengths
        (worker,) = multiprocessing.active_children()
    assert not worker.is_alive() and worker.exitcode == 0


@pytest.mark.slow
def test_a_process_that_dies_is_named():
    args = argparse.Namespace(data_dir=None, model="e5-small", batch_size=4, steps=9, sentences=40, eval_sentences=4,
                              subwords=None)
    died = pytest.raises(UserError, match="ours: its process died with status -9")
    with died, benchmark.process("ours", args) as (_, turn):
        turn()
        multiprocessing.active_children()[0].kill()
        turn()


@pytest.mark.slow
def test_an_arm_ends_when_its_parent_is_killed():
    """In the middle of a step that never ends: its output is closed when it is gone."""
    program = [sys.executable, "-c", "from tests.helpers import orphans; orphans.main()"]
    with subprocess.Popen(program, cwd=ROOT, env=runs.environment(), stdout=subprocess.PIPE) as parent:
        arm = int(parent.stdout.readline())
        parent.kill()
        try:
            assert parent.communicate(timeout=20) == (b"", None)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(arm, signal.SIGKILL)


@pytest.mark.slow
def test_all_arms_for_real(capsys):
    """The built-in encoder and corpus, few steps: every arm reports numbers, and they agree."""
    assert benchmark.main(["--steps=4", "--batch_size=4", "--eval_sentences=12", "--sentences=40"]) == 0
    *table, last = capsys.readouterr().out.strip().split("\n")
    ratios = json.loads(last)
    assert {"train_ratio_trainer", "train_ratio_grouped", "eval_ratio_trainer", "memory_ratio_trainer",
            "gemm_share", "first_20_ours", "median_ratio_grouped"} <= set(ratios)
    rows = {line.split()[0]: [float(cell.rstrip("%")) for cell in line.split()[1:]] for line in table[1:4]}
    assert set(rows) == set(benchmark.ARMS)
    assert ratios["train_ratio_trainer"] == pytest.approx(rows["ours"][0] / rows["trainer"][0], rel=0.1)
    assert ratios["memory_ratio_trainer"] < 0.75, "the embedding table alone makes the difference"


@pytest.mark.slow
def test_all_arms_that_tag_for_real(capsys, tmp_path):
    """A run of the small encoder on the built-in corpus: everybody tags the same texts, in fp32 and sorted or not with
    the same result, and the ratio is to the fastest pipeline."""
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    run, small = tmp_path / "run", tmp_path / "small"
    assert runs.run_script(runs.arguments(runs.make_recipe(tmp_path), run))[0] == 0
    assert evaluate.main(["export", str(run), f"--output={small}", "--int8"]) == 0
    capsys.readouterr()
    assert benchmark.main([f"--tag={run}", f"--small={small}", f"--data_dir={tmp_path / 'data'}"]) == 0
    header, *table, last, ratios = capsys.readouterr().out.strip().split("\n")
    assert header.split() == ["words/s", "ratio", "entities", "memory", "MiB"]
    rows = {line[:27].strip(): line[27:].split() for line in table}
    assert [arm for arm in rows if not arm.endswith("bf16")] == [a for a in tag_arms.RUNS if not a.endswith("bf16")]
    best = max(float(row[0]) for arm, row in rows.items() if arm.startswith("pipeline"))
    assert json.loads(ratios)["ours"] == pytest.approx(float(rows["ours"][0]) / best, rel=0.1)
    assert {rows[arm][2] for arm in rows if arm.startswith("pipeline")} == {rows["pipeline, batch 1"][2]}
    assert rows["ours"][2] == rows["ours, exported"][2] == rows["ours, ONNX"][2]
    assert last.startswith("12 German texts, ")


def test_parts_are_all_texts_once():
    texts = list(map(str, range(13)))
    parts = [tag_arms.part(texts, number) for number in range(tag_arms.PARTS)]
    assert parts[0] == ["0", "5", "10"] and sorted(itertools.chain(*parts), key=int) == texts


def test_arms_that_tag_need_their_files(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "cpu_multiplies_bf16", lambda: False)
    always = [arm for arm in tag_arms.RUNS if arm == "ours" or arm.startswith("pipeline")]
    assert tag_arms.possible(argparse.Namespace(small=None)) == always
    (tmp_path / "config.json").touch()
    exported = tag_arms.possible(argparse.Namespace(small=str(tmp_path)))
    assert sorted(exported) == sorted([*always, "ours, exported"])
    for name in ("model.onnx", "model.int8.onnx"):
        (tmp_path / name).touch()
    monkeypatch.setattr(machine, "cpu_multiplies_bf16", lambda: True)
    assert tag_arms.possible(argparse.Namespace(small=str(tmp_path))) == list(tag_arms.RUNS)


def test_small_is_an_exported_model(capsys, tmp_path):
    assert benchmark.main([f"--tag={tmp_path}", f"--small={tmp_path}"]) == 2
    assert capsys.readouterr().err.endswith("holds no config.json; expected a folder that evaluate.py export wrote\n")


def test_small_needs_tag(capsys):
    with pytest.raises(SystemExit, match=r"^2$"):
        benchmark.main(["--small=x"])
    assert capsys.readouterr().err.endswith("--small: expected with --tag\n")
