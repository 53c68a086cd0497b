"""A recipe with several named runs (`runs:`) or several seeds (`seeds:`): one command for a whole study.

Options and data of all runs are checked before the first one starts: a typo in the last run should not cost a night.
The same command can be repeated at any time: a run with results.json is skipped, one with only config.yaml is
continued. A finished run with options other than the recipe's stops the study: skipping it would mix the results of two
recipes.

All runs share one process, so that Ctrl-C and exit status work without extra code. The cost: peak resident memory must
be reset between runs, which only Linux can do.
"""

import contextlib
import gc
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import yaml

from ner.experiment.folder import RUNS, read_results, write_results
from ner.files import write_whole
from ner.options import NOT_IN_CONFIG, Options, UserError, as_recipe, resolve, shown, with_role
from ner.recipe import is_study, read_recipe
from ner.training.signals import Stopped

RUN_NAME = re.compile(r"\w[\w.+-]*")
EVALUATION_COST = 1 / 3  # of a training step: forward pass against forward, backward and update


class Planned(NamedTuple):
    """One run of a study. `group`: the folder of its seeds ('' for the study's own), None without `seeds`."""

    name: str  # its folder within the study: fr-250, seed-1, fr-250/seed-1
    options: Options
    group: str | None = None


def plan(recipe: Mapping, source: str = "") -> list[Planned]:
    """All runs of a recipe in its order; one ``UserError`` lists the problems of all runs, one per line."""
    prefix = f"{source}: " if source else ""
    named = recipe.get("runs", {"": None})
    if not isinstance(named, dict) or not named:
        raise UserError(f"{prefix}runs: expected names with options, such as 'de: {{train_langs: [de]}}', "
                        f"found {shown(named)}")
    shared = {name: value for name, value in recipe.items() if name != "runs"}
    planned: list[Planned] = []
    problems: dict[str, list[str]] = {}  # problem -> names of the runs that have it
    for name, own in named.items():
        found = own_problems(str(name), own) if "runs" in recipe else []
        try:
            options = resolve({**shared, **(own if isinstance(own, dict) else {})})
            planned += seeds_of(str(name), replace(options, output_dir=None, resume=False))
        except UserError as error:
            found += str(error).split("\n")
        for problem in found:
            problems.setdefault(problem, []).append(str(name))
    for problem in common_problems(planned):
        problems[problem] = list(named)
    if problems:
        raise UserError("\n".join(prefix + ("" if len(names) == len(named) else f"run {', '.join(names)}: ") + problem
                                  for problem, names in problems.items()))
    return planned


def planned_in(folder: Path) -> dict[str, Options]:
    """The runs of the study in `folder` by name; empty if it is not the folder of a study."""
    config = folder / "config.yaml"
    recipe = read_recipe(config) if config.is_file() else {}
    return {one.name: one.options for one in plan(recipe, str(config))} if is_study(recipe) else {}


def own_problems(name: str, own) -> list[str]:
    """Problems of a run's name and of the entries below it, other than those that `resolve` finds."""
    problems = []
    if not RUN_NAME.fullmatch(name):
        problems.append(f"'{name}' cannot name a run's folder; expected letters, digits and . + - _")
    if own is not None and not isinstance(own, dict):
        problems.append(f"expected options such as {{train_langs: [de]}}, found {shown(own)}")
    if isinstance(own, dict):
        problems += [f"{key}: belongs to the whole study; move it above runs"
                     for key in NOT_IN_CONFIG if key in own]
    return problems


def common_problems(planned: Sequence[Planned]) -> list[str]:
    """Problems that only show across runs."""
    problems = []
    uploads = [run.options.push_to_hub for run in planned if run.options.push_to_hub]
    if len(set(uploads)) < len(uploads):
        problems.append("push_to_hub: several runs would upload to one repository; name one per run, or none")
    for name in ("mixed_precision", "deterministic"):
        if len({getattr(run.options, name) for run in planned}) > 1:
            problems.append(f"{name}: differs between runs; expected the same for all, as they share a process")
    return problems


def seeds_of(name: str, options: Options) -> list[Planned]:
    if options.seeds is None:
        return [Planned(name, options)]
    return [Planned(f"{name}/seed-{seed}".lstrip("/"), replace(options, seeds=None, seed=seed), name)
            for seed in options.seeds]


def run(recipe: Mapping, source: str = "") -> None:
    """Train and test the runs that are not finished, each in its folder within output_dir (default: runs/RECIPE, the
    same for every call), then summarise runs over several seeds.

    Raises ``UserError``, and `Stopped` if a run received a stop signal.
    """
    planned = plan(recipe, source)
    folder = Path(str(recipe["output_dir"])) if recipe.get("output_dir") else RUNS / (Path(source).stem or "study")
    check_folder(folder)
    from accelerate.utils import broadcast_object_list  # imports torch, as the next ones do, so only after the checks

    from ner.experiment import experiment, seeds
    from ner.training import machine

    # Created as each run creates it: with a bare PartialState, CPU processes do not know of each other and all write.
    leader = machine.accelerator(planned[0].options).is_main_process
    done = {one.name: finished(folder / one.name, one.options) for one in planned}
    costs = work([one for one in planned if not done[one.name]])
    if leader:
        folder.mkdir(parents=True, exist_ok=True)
        kept = {name: value for name, value in recipe.items() if name not in NOT_IN_CONFIG}
        write_whole(folder / "config.yaml", yaml.safe_dump(kept, sort_keys=False, allow_unicode=True))
    for number, one in enumerate(planned, 1):
        place = f"run {number} of {len(planned)}: {folder / one.name}"
        place_of = folder / one.name
        # The main process decides for all: on a shared disk, other machines may see an older state.
        skipped, begun = broadcast_object_list([
            bool(done[one.name]) and not (place_of / "checkpoints").exists(),  # else it was killed during clean-up
            (place_of / "config.yaml").exists()])
        if skipped:
            tell(leader, f"{place} is finished")
            continue
        tell(leader, f"\n{place}, {time_left(costs.values(), done.values())}")
        forget_peak_memory()
        options = replace(one.options, output_dir=str(place_of), resume=begun)
        try:
            done[one.name] = experiment.run(options, place_of, place_of.name)
        except UserError as error:
            raise UserError(f"{place}: {error}") from None
        except Stopped as stop:
            stop.args = (f"{place}: {stop}, or repeat the same command to continue the study",)
            raise
        costs.pop(one.name, None)
    for group in dict.fromkeys(one.group for one in planned if one.group is not None):
        runs = [one for one in planned if one.group == group]
        if leader:
            results = [found for one in runs if (found := done[one.name])]  # of all runs: each is finished by now
            summary = seeds.over_seeds(folder / group, [one.options.seed for one in runs], results)
            write_results(folder / group, summary)
            print(f"\n{folder / group}: mean and standard deviation of F1 over {len(runs)} seeds\n"
                  f"{seeds.seed_table(summary)}")
    tell(leader, f"\n{folder}: {len(planned)} runs finished; for tables and plots: python evaluate.py report {folder}")


def tell(leader: bool, line: str) -> None:
    if leader:
        print(line, flush=True)


def check_folder(folder: Path) -> None:
    """Refuse to write a study into the folder of a run or over a file."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; name a folder for output_dir")
    config = folder / "config.yaml"
    if config.exists() and not is_study(read_recipe(config)):
        raise UserError(f"{folder}: holds a single run, not this study; name another output_dir or remove it")


def finished(folder: Path, options: Options) -> dict | None:
    """The results of a finished run, None for one still to do; ``UserError`` if its options differ."""
    path = folder / "results.json"
    if not path.exists():
        return None
    results = read_results(path)
    if not results.get("train") or "test" not in results["eval"]:
        raise UserError(f"{path}: lacks training or test results; expected the results of a run of this study")
    wanted = with_role(as_recipe(options), "changes_result")
    other = [name for name, value in wanted.items() if not same(name, results["options"][name], value)]
    if other:
        found = ", ".join(f"{name} {shown(results['options'][name])}, not {shown(wanted[name])}" for name in other)
        raise UserError(f"{folder}: is finished, but with {found}; remove it or name another output_dir")
    return results


def same(name: str, a, b) -> bool:
    """Whether two values of an option mean the same; a folder may be given by another path."""
    return a == b or (name == "data_dir" and bool(a and b) and Path(a).resolve() == Path(b).resolve())


def work(planned: Sequence[Planned]) -> dict[str, float]:
    """The work of each run, in units of training one sentence; ``UserError`` if one lacks data."""
    from ner.data import sampling, survey

    costs = {}
    for group in survey.load([one.options for one in planned]):
        for name, options in ((one.name, one.options) for one in planned if one.options in group.runs):
            try:
                training = sampling.training_set({lang: group.corpus["train"][lang] for lang in options.train_langs},
                                                 options.num_train_sentences)
            except UserError as error:
                raise UserError(f"run {name}: {error}") from None
            validation = sum(len(group.corpus["validation"][lang])
                             for lang in options.validation_langs or options.eval_langs)
            test = sum(len(group.corpus["test"][lang]) for lang in options.eval_langs)
            costs[name] = cost(options, len(training), validation, test)
    return costs


def cost(options: Options, training: int, validation: int, test: int) -> float:
    """Sentences to train on, over all epochs, plus `EVALUATION_COST` for each sentence to evaluate."""
    trained = min(options.epochs * training, (options.max_steps or math.inf) * options.batch_size)
    return trained + EVALUATION_COST * (math.ceil(trained / training) * validation + test)


def time_left(costs: Iterable[float], done: Iterable[dict | None]) -> str:
    """Estimated from the speed of the last finished run of the recipe; unknown before there is one."""
    speeds = [results["train"]["sentences_per_second"] for results in done if results]
    if not speeds or not speeds[-1]:
        return "time left: known after the first run"
    minutes = math.ceil(sum(costs) / speeds[-1] / 60)
    return f"about {minutes} min left" if minutes < 120 else f"about {minutes / 60:.1f} h left"


def forget_peak_memory() -> None:
    """So that the next run reports its own peak."""
    import torch

    gc.collect()
    if torch.cuda.is_initialized():  # not on the CPU of a machine with a GPU
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):  # not on Linux: the peak is then that of all runs so far
        Path("/proc/self/clear_refs").write_text("5")
