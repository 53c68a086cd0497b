"""Every option of a run, once: name, default, type, help and unit.

A recipe (YAML) is read first and the command line is laid on top of it; both use the same names. All problems of a
run's options are reported together, before anything is loaded: a line each is cheaper than a failed run each. Nothing
heavy is imported here, so that ``--help`` answers at once.
"""

import argparse
import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ner.recipe import UserError, read_recipe, read_word, shown


def option(default, group: str, text: str):
    """A dataclass field that knows its help text (with unit) and its heading in ``--help``."""
    metadata = {"group": group, "help": text}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Options:
    """The resolved options of one run; ``config.yaml`` of a run is this, but ``output_dir`` and ``resume``."""

    dataset: str = option("swiss", "data", "swiss (built in), panx (from the Hub), or a data set's Hub name or folder")
    data_dir: str | None = option(None, "data", "folder with <lang>/{train,dev,test} files; overrides dataset")
    revision: str | None = option(None, "data", "commit, tag or branch of the data set on the Hub")
    train_langs: list[str] = option(["de"], "data", "languages to train on")
    eval_langs: list[str] = option(["de", "fr", "it", "en"], "data", "languages to score")
    validation_langs: list[str] | None = option(None, "data", "languages scored after every epoch; default: eval_langs")
    fractions: dict[str, float] = option({}, "data", "share of a language's splits to keep, de=0.629; not named: whole")
    sample_seed: int = option(0, "data", "seed of the shuffle before fractions are taken")
    num_train_sentences: int | None = option(None, "data", "sentences of each language to train on; default: all")
    tags: list[str] | None = option(None, "data", "tags in the order of their ids; default: those of the training data")
    max_length: int = option(512, "data", "subwords in a window, special tokens included")
    stride: int | None = option(None, "data", "subwords that neighbouring windows share; default: half of max_length")
    exclude: str | None = option(None, "data", "TSV of training sentences to leave out (from evaluate.py suspects)")

    model: str = option("e5-small", "model", "e5-small (built in), or a RoBERTa-like encoder's Hub name or folder")
    model_revision: str | None = option(None, "model", "commit, tag or branch of the model on the Hub")
    dropout: float | None = option(None, "model", "probability, everywhere in the model; default: the encoder's own")
    attention: str = option("packed", "model", "packed (only real tokens) or padded (the plain way, same result)")
    active_vocabulary: bool = option(True, "model", "train only the embedding rows that the data touch (same result)")

    epochs: int = option(3, "optimisation", "passes over the training sentences")
    max_steps: int | None = option(None, "optimisation", "stop after so many optimizer steps; default: epochs decide")
    batch_size: int = option(64, "optimisation", "sentences an optimizer step, over all processes")
    micro_batch_size: int | None = option(None, "optimisation", "windows a pass (less memory, same step); default: all")
    learning_rate: float = option(5e-5, "optimisation", "peak learning rate of AdamW")
    weight_decay: float = option(0.01, "optimisation", "decoupled weight decay, none on biases and LayerNorm")
    warmup_ratio: float = option(0.0, "optimisation", "share of the steps in which the learning rate rises")
    max_grad_norm: float = option(1.0, "optimisation", "clip the gradient's L2 norm to this")
    seed: int = option(42, "optimisation", "seed of the new head's weights, dropout and the order of training")
    seeds: list[int] | None = option(None, "optimisation", "train once a seed and report mean and standard deviation")

    output_dir: str | None = option(None, "run", "folder of the run; default: runs/RECIPE, then runs/RECIPE-2, ...")
    mixed_precision: str = option("auto", "run", "auto (the launcher's, else bf16 or fp16 on a GPU), no, bf16 or fp16")
    log_every: int = option(10, "run", "optimizer steps between two points of the training curves")
    checkpoint_every: str | None = option("epoch", "run", "optimizer steps between checkpoints, epoch, or none")
    resume: bool = option(False, "run", "continue the newest whole checkpoint of output_dir")
    select: str = option("last", "run", "epoch to keep: last, mean (best mean validation F1) or a language (its best)")
    patience: int | None = option(None, "run", "stop after so many epochs without a better score; default: never")
    push_to_hub: str | None = option(None, "run", "upload model/ to this Hub repository, user/name (private)")
    public: bool = option(False, "run", "make the uploaded repository public")


NOT_IN_CONFIG = ("output_dir", "resume")
CHOICES = {"attention": ("packed", "padded"), "mixed_precision": ("auto", "no", "bf16", "fp16")}
AT_LEAST = {"epochs": 1, "max_steps": 1, "batch_size": 1, "micro_batch_size": 1, "num_train_sentences": 1,
            "log_every": 1, "patience": 1, "max_length": 16, "weight_decay": 0}
NO_TEXT = re.compile("[\0-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")  # no path can hold it, or no message show
FIELDS = {f.name: f for f in dataclasses.fields(Options)}
HINTS = typing.get_type_hints(Options)
KINDS = {name: typing.get_args(hint)[0] if isinstance(hint, types.UnionType) else hint for name, hint in HINTS.items()}
DESCRIPTIONS = {  # kind -> in a message, in --help
    str: ("text", "TEXT"), int: ("a whole number", "N"), float: ("a number", "X"),
    bool: ("true or false", "[true|false]"), list[str]: ("a list of words", "TEXT ..."),
    list[int]: ("a list of whole numbers", "N ..."), dict[str, float]: ("a mapping such as {de: 0.5}", "NAME=X ..."),
}


def convert(value, kind):
    """A value from YAML or the command line as ``kind``; ``ValueError`` or ``KeyError`` where it is not one."""
    if typing.get_origin(kind) is list:
        return [convert(item, typing.get_args(kind)[0]) for item in (value if isinstance(value, list) else [value])]
    if typing.get_origin(kind) is dict and isinstance(value, dict):
        return {convert(key, str): convert(item, float) for key, item in value.items()}
    if kind is bool:
        return {"true": True, "false": False}[str(value).lower()]
    if isinstance(value, bool) or not isinstance(value, (str, int, float)) or value == "" or NO_TEXT.search(str(value)):
        raise ValueError
    if kind is str:
        return str(value)
    number = float(value)
    if not math.isfinite(number) or kind is int and not number.is_integer():
        raise ValueError
    return kind(number)


def closest(word: str, known) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def resolve(recipe: dict, source: str = "") -> Options:
    """Checked options from a mapping; one ``UserError`` that lists every problem, one a line."""
    problems, values = [], {}
    for name, value in recipe.items():
        if name not in FIELDS:
            problems.append(f"unknown option {shown(name)}{closest(name, FIELDS) or '; see --help'}")
            continue
        try:
            values[name] = None if value is None and HINTS[name] != KINDS[name] else convert(value, KINDS[name])
        except (ValueError, KeyError, OverflowError):
            problems.append(f"{name}: expected {DESCRIPTIONS[KINDS[name]][0]}, found {shown(value)}")
    options = Options(**values)
    problems += check(options)
    if problems:
        raise UserError("\n".join(f"{source}{': ' if source else ''}{problem}" for problem in problems))
    return options


def check(o: Options) -> list[str]:
    """Problems of values and combinations, each a sentence that says what would be right."""
    problems = []

    def expect(name: str, right, text: str, hint: str = ""):
        """The option is null or of a value for which the function `right` is true."""
        value = getattr(o, name)
        if value is not None and not right(value):
            problems.append(f"{name}: expected {text}, found {shown(value)}{hint}")

    for name, allowed in {**CHOICES, "select": ("last", "mean", *(o.validation_langs or o.eval_langs))}.items():
        expect(name, lambda value: value in allowed, f"one of {', '.join(allowed)}", closest(getattr(o, name), allowed))
    for name, least in AT_LEAST.items():
        expect(name, lambda value: value >= least, f"at least {least}")
    for name in ("learning_rate", "max_grad_norm"):
        expect(name, lambda value: value > 0, "a number above 0")
    for name in ("warmup_ratio", "dropout"):
        expect(name, lambda value: 0 <= value < 1, "0 up to below 1")
    for name in ("sample_seed", "seed"):
        expect(name, lambda value: 0 <= value < 2**32, "0 to 4294967295")
    expect("seeds", lambda value: all(0 <= seed < 2**32 for seed in value), "numbers from 0 to 4294967295")
    for name in ("train_langs", "eval_langs", "validation_langs", "seeds", "tags"):
        expect(name, len, "at least one")
        expect(name, lambda value: len(set(value)) == len(value), "each of them once")
    expect("fractions", lambda value: all(0 < share <= 1 for share in value.values()), "shares above 0 and up to 1")
    expect("stride", lambda value: 0 <= value <= o.max_length // 2, f"0 to half of max_length ({o.max_length // 2})")
    expect("checkpoint_every", lambda value: value in ("none", "epoch") or re.fullmatch("[1-9][0-9]{0,17}", value),
           "a number of steps, epoch or none")
    wrong = {
        "patience: set select to mean or to a language, to say what better means": o.patience and o.select == "last",
        "seed and seeds exclude each other; keep one": o.seeds is not None and o.seed != Options.seed,
        "resume: with seeds, name the output_dir to continue": o.resume and o.seeds and o.output_dir is None,
        "public: needs push_to_hub user/name": o.public and o.push_to_hub is None,
    }
    return problems + [text for text, found in wrong.items() if found]


def as_recipe(options: Options) -> dict:
    """What ``config.yaml`` holds: every option but where the run lies and whether it was resumed."""
    return {name: value for name, value in dataclasses.asdict(options).items() if name not in NOT_IN_CONFIG}


class Parser(argparse.ArgumentParser):
    """argparse whose complaints are ``UserError``, so that all of them leave by one door."""

    def error(self, message):
        raise UserError(f"{message}; see --help")


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Shows what an option takes by its metavar alone: argparse takes any number of words, `resolve` checks them."""

    def _format_args(self, action, default_metavar):
        return action.metavar if action.nargs == "*" else super()._format_args(action, default_metavar)


def parser(description: str) -> Parser:
    """The command line of ``train.py``: values in YAML's syntax, lists also as several words."""
    result = Parser(description=description, usage="train.py [--config FILE] [--OPTION VALUE ...]", allow_abbrev=False,
                    formatter_class=lambda prog: HelpFormatter(prog, max_help_position=32))
    result.add_argument("--config", metavar="FILE", help="YAML recipe that sets any of the options below")
    groups = {title: result.add_argument_group(title) for title in ("data", "model", "optimisation", "run")}
    for name, f in FIELDS.items():
        default = getattr(Options(), name)
        value = "none" if default in (None, {}) else " ".join(default) if KINDS[name] == list[str] else str(default)
        text = f.metadata["help"] + ("" if "default:" in f.metadata["help"] else f" [{value.lower()}]")
        groups[f.metadata["group"]].add_argument(
            f"--{name}", nargs="*", metavar=DESCRIPTIONS[KINDS[name]][1], help=text, default=argparse.SUPPRESS)
    return result


def command_line_values(words: dict[str, list[str]]) -> dict:
    """Values of ``--name word word ...`` as YAML gives them: no word is true, several are a list, a=b a mapping."""
    values = {}
    for name, given in words.items():
        kind = KINDS[name]
        if kind is not str and given and given[0].startswith(("[", "{")):  # a shell cuts it at spaces
            given = [" ".join(given)]
        if kind is bool and not given:
            values[name] = True
        elif typing.get_origin(kind) is dict and given and not given[0].startswith("{"):
            values[name] = dict(word.split("=", 1) if "=" in word else (word, None) for word in given)
        elif kind is str and len(given) == 1:
            values[name] = None if given[0] in ("null", "~") else given[0]
        else:
            read = [read_word(word) for word in given]
            values[name] = read[0] if len(read) == 1 else read
    return values


def refuse_control_characters(words: Sequence[str]) -> None:
    """They would tear the messages apart that quote them; bytes that are not UTF-8 come as surrogates."""
    if odd := next((word for word in words if NO_TEXT.search(word)), None):
        raise UserError(f"{shown(odd)} holds a control character or is not UTF-8; expected plain text")


def read_arguments(description: str, argv: list[str]) -> tuple[dict, str]:
    """The mapping of recipe plus command line, unchecked, and the recipe's path (or '')."""
    known, rest = parser(description).parse_known_args(argv)
    if rest and not rest[0].startswith("--"):
        raise UserError(f"unexpected {shown(rest[0])}; options start with --, see --help")
    refuse_control_characters(argv)
    words = vars(known)
    path = words.pop("config") or ""
    recipe = read_recipe(path) if path else {}
    unknown = {word[2:].split("=", 1)[0]: None for word in rest if word.startswith("--")}
    given = command_line_values(words) | unknown
    if isinstance(recipe.get("runs"), dict):  # the command line wins over the options of named runs, too
        one = {name: value for name, value in given.items() if name not in NOT_IN_CONFIG}
        recipe["runs"] = {run: {**own, **one} if isinstance(own, dict) else own for run, own in recipe["runs"].items()}
    return {**recipe, **given}, path
