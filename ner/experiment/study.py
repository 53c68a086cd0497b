"""A recipe with several named runs (`runs:`) or several seeds (`seeds:`): one command for a whole study.

Options and data of all runs are checked before the first one starts: a typo in the last run should not cost a night.
The same command can be repeated at any time: a run with results.json is skipped, one with only config.yaml is
continued. A finished run with options other than the recipe's stops the study: skipping it would mix the results of two
recipes. It can also be started several times at once, on as many GPUs: each takes a run that no other is at work on.

All runs share one process, so that Ctrl-C and exit status work without extra code. The cost: peak resident memory must
be reset between runs, which only Linux can do.
"""

import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from pathlib import Path

import yaml

from ner.experiment.folder import RUNS, claim, is_finished, read_results, write_results
from ner.experiment.plan import Planned, plan
from ner.experiment.time_left import in_words
from ner.files import write_whole
from ner.options import NOT_IN_CONFIG, Options, UserError, as_recipe, same, shown, with_role
from ner.recipe import is_study, read_recipe
from ner.training.signals import Stopped

EVALUATION_COST = 1 / 3  # of a training step: forward pass against forward, backward and update
PAUSE = 5  # seconds between looks at what other processes have finished


def run(recipe: Mapping, source: str = "") -> None:
    """Train and test the runs that are not finished, each in its folder within output_dir (default: runs/RECIPE, the
    same for every call), then summarise runs over several seeds.

    Raises ``UserError``, and `Stopped` if a run received a stop signal.
    """
    planned = plan(recipe, source)
    folder = Path(str(recipe["output_dir"])) if recipe.get("output_dir") else RUNS / (Path(source).stem or "study")
    planned = [one._replace(options=replace(one.options, teacher=str(folder / one.teacher))) if one.teacher else one
               for one in planned]
    check_folder(folder)
    for group in {one.group for one in planned if one.group}:
        if (folder / group / "config.yaml").exists():
            raise UserError(f"{folder / group}: holds a single run, but has several seeds now; remove it or name "
                            f"another output_dir")
    from ner.experiment import seeds, teacher  # these import torch, so only after the checks
    from ner.training import machine

    # Created as each run creates it: with a bare PartialState, CPU processes do not know of each other and all write.
    leader = machine.accelerator(planned[0].options).is_main_process
    done = {one.name: finished(folder / one.name, one.options) for one in planned}
    to_do = {one.name: one for one in planned if not done[one.name]}
    for one in planned:
        if (found := done[one.name]) and one.teacher not in to_do:
            teacher.check_same(folder / one.name, found, one.options)
    costs = work(list(to_do.values()))
    check_teachers(to_do)
    if leader:
        folder.mkdir(parents=True, exist_ok=True)
        kept = {name: value for name, value in recipe.items() if name not in NOT_IN_CONFIG}
        write_whole(folder / "config.yaml", yaml.safe_dump(kept, sort_keys=False, allow_unicode=True), os.getpid())
    train_all(planned, folder, done, costs, leader)
    for group in dict.fromkeys(one.group for one in planned if one.group is not None):
        runs = [one for one in planned if one.group == group]
        if leader:
            results = [found for one in runs if (found := done[one.name])]  # of all runs: each is finished by now
            summary = seeds.over_seeds(folder / group, [one.options.seed for one in runs], results)
            write_results(folder / group, summary, os.getpid())
            print(f"\n{folder / group}: mean and standard deviation of F1 over {len(runs)} seeds\n"
                  f"{seeds.seed_table(summary)}")
    tell(leader, f"\n{folder}: {len(planned)} runs finished; for tables and plots: python evaluate.py report {folder}")


def train_all(planned: Sequence[Planned], folder: Path, done: dict[str, dict | None], costs: dict[str, float],
              leader: bool) -> None:
    """Train the runs that are not `done`, or wait until another process has; their results are added to it. In the
    order of the recipe; once a run had to wait for another process, the longest first, so that all end together."""
    from accelerate.utils import broadcast_object_list

    from ner.experiment import teacher

    new = {name for name in done if not done[name]}
    (urgent,) = broadcast_object_list([urgency(planned, costs)])  # processes may see other states of a disk
    waiting, others, told = list(enumerate(planned, 1)), set[str](), False
    while waiting:
        left: list[tuple[int, Planned]] = []  # for later: others are at work on them, or on their teachers
        for after, (number, one) in enumerate(waiting, 1):
            own = folder / one.name
            place = f"run {number} of {len(planned)}: {own}"
            done[one.name] = done[one.name] or finished(own, one.options)
            with ExitStack() as held:
                # The main process decides for all: on a shared disk, other machines may see an older state.
                skipped, begun, ours = broadcast_object_list(
                    state_of(folder, one, bool(done[one.name]), held) if leader else [None] * 3)
                if skipped:
                    if leader and one.teacher in new:  # trained only now
                        teacher.check_same(own, done[one.name] or {}, one.options)
                    tell(leader, f"{place} is finished")
                elif ours:
                    ahead = [cost for name, cost in costs.items() if name not in others]
                    tell(leader, f"\n{place}, {time_left(ahead, done.values())}")
                    done[one.name] = train_one(replace(one.options, output_dir=str(own), resume=begun), own, place)
                else:
                    left.append((number, one))
                    others.add(one.name)
                    continue
            costs.pop(one.name, None)
            if ours and left:
                left += waiting[after:]
                break
        if left and len(left) == len(waiting):
            if not told:
                tell(leader, f"\nwaiting for other processes: {', '.join(one.name for _, one in left)}")
                told = True
            time.sleep(PAUSE)
        waiting = sorted(left, key=lambda item: -urgent[item[1].name])


def urgency(planned: Sequence[Planned], costs: Mapping[str, float]) -> dict[str, float]:
    """The cost of each run and, after it, of the longest run that it teaches; 0 for finished ones."""
    return {one.name: costs.get(one.name, 0) + max((costs.get(other.name, 0) for other in planned
                                                    if other.teacher == one.name), default=0) for one in planned}


def train_one(options: Options, folder: Path, place: str) -> dict:
    """Train and test a run in its folder, which is ours; its results. `place` begins what errors and stops say."""
    from ner.experiment import experiment
    from ner.training import machine

    machine.forget_peak_memory()
    try:
        return experiment.run(options, folder, folder.name, claimed=True)
    except UserError as error:
        with suppress(OSError):
            folder.rmdir()  # if nothing is in it
        raise UserError(f"{place}: {error}") from None
    except Stopped as stop:
        stop.args = (f"{place}: {stop}, or repeat the same command to continue the study",)
        raise


def state_of(folder: Path, one: Planned, done: bool, held: ExitStack) -> list[bool]:
    """Whether a run is finished; whether it has begun; whether it is ours, until `held` is closed. It is neither
    finished nor ours before its teacher is finished, and not ours while another process is at work on it."""
    own = folder / one.name
    if one.teacher and not is_finished(folder / one.teacher):
        return [False, False, False]
    if done and not (own / "checkpoints").exists():  # else it was killed during clean-up
        return [True, True, False]
    own.mkdir(parents=True, exist_ok=True)
    ours = claim(own, held)  # first, so that nobody begins the run after we looked
    return [False, (own / "config.yaml").exists(), ours]


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


def work(planned: Sequence[Planned]) -> dict[str, float]:
    """The work of each run, in units of training one sentence; ``UserError`` if one lacks data, or cannot begin."""
    from ner.data import sampling, survey

    costs = {}
    for group in survey.load([one.options for one in planned]):
        for name, options in ((one.name, one.options) for one in planned if one.options in group.runs):
            try:
                sizes = {split: sum(len(sampling.subset(group.corpus[split][lang], lang, options.num_train_sentences))
                                    for lang in langs or ())
                         for split, langs in (("train", options.train_langs), ("unlabelled", options.pseudo_langs))}
                check_begin(options, group)
            except UserError as error:
                raise UserError(f"run {name}: {error}") from None
            validation = sum(len(group.corpus["validation"][lang])
                             for lang in options.validation_langs or options.eval_langs)
            test = sum(len(group.corpus["test"][lang]) for lang in options.eval_langs)
            training = sizes["train"] + round(options.pseudo_share * sizes["unlabelled"])
            costs[name] = cost(options, training, validation, test + sizes["unlabelled"])
    return costs


def check_begin(options: Options, group) -> None:
    """``UserError`` for what would stop a run at its beginning; `group`: the `survey.Survey` that it is in."""
    from ner.data import corpora, exclude, survey
    from ner.experiment import publish
    from ner.model import head, pretrained

    pretrained.encoder_of(options)
    if options.push_to_hub:
        publish.check_repository_name(options.push_to_hub)
    if options.exclude:
        exclude.exclusions(options.exclude)
    found = (survey.entities(group.corpus["train"][lang], group.tags) for lang in options.train_langs)
    if options.tags is None and len({kind for one in found for kind in one if one[kind]}) < len(group.tags.types):
        own = corpora.load(options)[1]  # refuses data with types that others have trained on, and not this run
    else:
        own = group.tags
    head.check_class_weights(options, own)


def check_teachers(planned: Mapping[str, Planned]) -> None:
    """``UserError`` for a teacher that cannot be loaded or has other tags than the run that it teaches; one that has
    yet to be trained will have those of its data."""
    from ner.data import corpora
    from ner.experiment import teacher

    def data(options: Options) -> dict:
        return {**with_role(asdict(options), "of_data"), "train_langs": options.train_langs}

    def tags(options: Options):
        return corpora.load(options, {"train": options.train_langs})[1]

    for one in (one for one in planned.values() if one.options.teacher is not None):
        theirs = planned.get(one.teacher or "")
        try:
            if theirs is None:
                teacher.check(one.options, tags(one.options))
            elif data(theirs.options) != data(one.options):
                teacher.check_tags(theirs.name, tags(theirs.options), tags(one.options))
        except UserError as error:
            raise UserError(f"run {one.name}: {error}") from None


def cost(options: Options, training: int, validation: int, test: int) -> float:
    """Sentences to train on, over all epochs, plus `EVALUATION_COST` for each sentence to evaluate."""
    trained = min(options.epochs * training, (options.max_steps or math.inf) * options.batch_size)
    return trained + EVALUATION_COST * (math.ceil(trained / training) * validation + test)


def time_left(costs: Iterable[float], done: Iterable[dict | None]) -> str:
    """Estimated from the speed of the last finished run of the recipe; unknown before there is one."""
    speeds = [results["train"]["sentences_per_second"] for results in done if results]
    if not speeds or not speeds[-1]:
        return "time left: known after the first run"
    return in_words(sum(costs) / speeds[-1])
