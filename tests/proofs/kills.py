"""Kill a run at random moments, continue it, and compare with one that nothing happened to.

Started with ``python -m tests.proofs.kills``. The run learns from a teacher and averages its weights. Every life of it
is a process of its own that is sent SIGKILL after a random time, or while it writes the teacher's tags, a checkpoint or
model/. When a run has finished, it must equal the straight one bit for bit, and another is begun until all kills are
spent.
"""

import argparse
import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import yaml

from tests.helpers import doubles, runs

LATEST = 2.5  # seconds after its first sign of life at which a process is killed


def moment(generator: random.Random) -> tuple[str, float]:
    """Where to kill: what to wait for, and how long after it."""
    return generator.choice([("anywhere", generator.uniform(0, LATEST)),
                             ("writing tags", generator.uniform(0, 0.02)),
                             ("training", generator.uniform(0, LATEST / 2)),
                             ("writing a checkpoint", generator.uniform(0, 0.02)),
                             ("saving model/", generator.uniform(0, 0.05))])


def reached(folder: Path, place: str) -> bool:
    if place == "training":
        return any(folder.glob("events*"))
    if place == "writing tags":
        return (folder / ".pseudo.tmp").exists() or (folder / "pseudo").exists()
    if place == "writing a checkpoint":
        return any((folder / "checkpoints").glob(".step-*"))
    return place == "anywhere" or (folder / ".model.tmp").exists() or (folder / "model").exists()


def live(recipe: Path, folder: Path, kill_at: tuple[str, float] | None) -> int:
    """One life of a run; its exit status, -9 if it was killed."""
    log = str(folder.with_suffix(".log"))
    argv = runs.arguments(recipe, folder, "--resume")
    process = runs.forked(runs.train_main, argv, log, doubles.keep_checkpoints)
    if kill_at is not None:
        place, delay = kill_at
        while process.is_alive() and not reached(folder, place):
            time.sleep(0.001)
        process.join(delay)
        process.kill()
    process.join(120)
    assert process.exitcode in (0, -9), Path(log).read_text(encoding="utf-8")
    return process.exitcode


def main(kills: int, seconds: float, folder: Path, seed: int = 0) -> str:
    """What was done, in a sentence; AssertionError where a run differs from the straight one."""
    generator, end = random.Random(seed), time.monotonic() + seconds
    options = {"checkpoint_every": "3", "epochs": 4, "select": "mean", "average": "9"}
    recipe = runs.make_recipe(folder / "small", **options)
    assert live(recipe, folder / "teacher", None) == 0
    shutil.copytree(folder / "small" / "data" / "de", folder / "small" / "data" / "it")
    student = {"teacher": str(folder / "teacher"), "pseudo_langs": ["it"]}
    recipe.write_text(yaml.safe_dump({**yaml.safe_load(recipe.read_text()), **student}), encoding="utf-8")
    assert live(recipe, folder / "straight", None) == 0
    done, places, begun, lives = 0, Counter(), 0, Counter()
    while done < kills:
        begun += 1
        run = folder / f"run-{begun}"
        while not (run / "results.json").exists():
            left = done < kills and time.monotonic() < end
            kill_at = moment(generator) if left else None
            if live(recipe, run, kill_at) == -9:
                done += 1
                lives[begun] += 1
                places[kill_at[0]] += 1
        runs.assert_same_run(run, folder / "straight")
        assert done >= kills or time.monotonic() < end, f"only {done} of {kills} kills in {seconds:.0f} s"
    return (f"{done} kills in {begun} runs, up to {max(lives.values())} in one ("
            f"{', '.join(f'{count} {place}' for place, count in places.items())}): "
            f"bit for bit the run that nothing happened to")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=25, help="how many [25]")
    parser.add_argument("--seconds", type=float, default=900, help="give up after so many [900]")
    parser.add_argument("--seed", type=int, default=0, help="of the moments [0]")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        print(main(arguments.kills, arguments.seconds, Path(temporary), arguments.seed))
