"""Which runs a recipe with `runs:` or `seeds:` describes, and in what order: each after its teacher."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ner.options import NOT_IN_CONFIG, Options, UserError, closest, resolve, shown
from ner.recipe import is_study, read_recipe

RUN_NAME = re.compile(r"\w[\w.+-]*")


class Planned(NamedTuple):
    """One run of a study. `group`: the folder of its seeds ('' for the study's own), None without `seeds`."""

    name: str  # its folder within the study: fr-250, seed-1, fr-250/seed-1
    options: Options
    group: str | None = None
    teacher: str | None = None  # the run of the study that is its teacher


def plan(recipe: Mapping, source: str = "") -> list[Planned]:
    """All runs of a recipe in its order, but each after its teacher; one ``UserError`` lists the problems of all runs,
    one per line."""
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
    for number, one in enumerate(planned):
        try:
            planned[number] = with_teacher(one, planned, list(map(str, named)))
        except UserError as error:
            problems.setdefault(str(error), []).append(one.group or one.name)
    for problem in common_problems(planned):
        problems[problem] = list(named)
    if problems:
        raise UserError("\n".join(prefix + ("" if len(names) == len(named) else f"run {', '.join(names)}: ") + problem
                                  for problem, names in problems.items()))
    return in_order(planned, prefix)


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


def with_teacher(one: Planned, planned: Sequence[Planned], named: Sequence[str]) -> Planned:
    """The run with the name of its teacher if that is a run of the study; of several seeds, the one with its seed."""
    wanted = one.options.teacher
    known = {other.name for other in planned}
    if wanted is None:
        return one
    for name in (wanted, f"{wanted}/seed-{one.options.seed}"):
        if name in known:
            return one._replace(teacher=name)
    if seeds := [str(other.options.seed) for other in planned if other.group == wanted]:
        raise UserError(f"teacher: {wanted} has the seeds {', '.join(seeds)}; expected {one.options.seed} among them")
    may_be_elsewhere = os.path.exists(wanted) or "/" in wanted and wanted.split("/")[0] not in named
    if wanted not in named and not may_be_elsewhere:  # a named one that is not known has problems of its own
        raise UserError(f"teacher: expected a run of the study or a folder, found {shown(wanted)}"
                        f"{closest(wanted, named)}")
    return one


def in_order(planned: Sequence[Planned], prefix: str) -> list[Planned]:
    """Each run after its teacher, otherwise as they come; ``UserError`` where runs teach each other."""
    teachers = {one.name: one.teacher for one in planned}
    ordered: dict[str, Planned] = {}
    while waiting := [one for one in planned if one.name not in ordered]:
        ready = next((one for one in waiting if one.teacher is None or one.teacher in ordered), None)
        if ready is None:
            path: list[str | None] = [waiting[0].name]
            while path[-1] not in path[:-1]:
                path.append(teachers[str(path[-1])])
            circle = " <- ".join(map(str, path[path.index(path[-1]):]))
            raise UserError(f"{prefix}teacher: expected runs without a circle of teachers, found {circle}")
        ordered[ready.name] = ready
    return list(ordered.values())
