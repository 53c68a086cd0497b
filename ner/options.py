"""Every option of a run, once: name, default, type, help and unit.

A recipe (YAML) is read first and the command line is laid on top of it; both use the same names. All problems of a run's
options are reported together, before anything is loaded: one line each is cheaper than one failed run each. Nothing heavy
is imported here, so that ``--help`` answers at once.
"""

import argparse
import dataclasses
import difflib
import math
import re
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path

import yaml


class UserError(Exception):
    """A mistake that the user can mend: the scripts print it as one sentence and exit with status 2."""


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
    validation_langs: list[str] | None = option(
        None, "data", "languages scored after every epoch; default: eval_langs"
    )
    fractions: dict[str, float] = option({}, "data", "share of each split kept a language, {de: 0.629}; not named: whole")
    sample_seed: int = option(0, "data", "seed of the shuffle before fractions are taken")
    num_train_sentences: int | None = option(None, "data", "sentences to train on a language (shuffle with seed 42); default: all")
    tags: list[str] | None = option(None, "data", "tag names in the order of their ids (O B-PER I-PER); default: from the data")
    max_length: int = option(512, "data", "subwords in a window, special tokens included")
    stride: int | None = option(
        None, "data", "subwords that neighbouring windows of a long sentence share; default: half of max_length"
    )
    exclude: str | None = option(None, "data", "TSV of training sentences to leave out (from evaluate.py suspects)")

    model: str = option("e5-small", "model", "e5-small (built in), or a RoBERTa-like encoder's Hub name or folder")
    model_revision: str | None = option(None, "model", "commit, tag or branch of the model on the Hub")
    dropout: float | None = option(None, "model", "probability, everywhere in the model; default: the encoder's own")
    attention: str = option("packed", "model", "packed (computes real tokens only) or padded (the plain way, same result)")
    active_vocabulary: bool = option(True, "model", "train only the embedding rows that the data can touch (same result)")

    epochs: int = option(3, "optimisation", "passes over the training sentences")
    max_steps: int | None = option(None, "optimisation", "stop after so many optimizer steps; default: epochs decide")
    batch_size: int = option(64, "optimisation", "sentences an optimizer step, over all processes")
    micro_batch_size: int | None = option(
        None, "optimisation", "windows a forward pass and process (less memory, same step); default: all at once"
    )
    learning_rate: float = option(5e-5, "optimisation", "peak learning rate of AdamW")
    weight_decay: float = option(0.01, "optimisation", "decoupled weight decay, none on biases and LayerNorm")
    warmup_ratio: float = option(0.0, "optimisation", "share of the steps in which the learning rate rises")
    max_grad_norm: float = option(1.0, "optimisation", "clip the gradient's L2 norm to this")
    seed: int = option(42, "optimisation", "seed of the new head's weights, dropout and the order of training")
    seeds: list[int] | None = option(None, "optimisation", "train once a seed and report mean and standard deviation")

    output_dir: str | None = option(None, "run", "folder of the run; default: runs/RECIPE, then runs/RECIPE-2, ...")
    mixed_precision: str = option("auto", "run", "auto (launcher's choice, else bf16 or fp16 on a GPU), no, bf16 or fp16")
    log_every: int = option(10, "run", "optimizer steps between two points of the training curves")
    checkpoint_every: str | None = option("epoch", "run", "optimizer steps between checkpoints, epoch, or none")
    resume: bool = option(False, "run", "continue the newest whole checkpoint of output_dir")
    select: str = option("last", "run", "epoch to keep: last, mean (best mean validation F1) or a language (best F1 there)")
    patience: int | None = option(None, "run", "stop after so many epochs without a better select score; default: never")
    push_to_hub: str | None = option(None, "run", "upload model/ to this Hub repository, user/name (private)")
    public: bool = option(False, "run", "make the uploaded repository public")


NOT_IN_CONFIG = ("output_dir", "resume")
CHOICES = {
    "attention": ("packed", "padded"),
    "mixed_precision": ("auto", "no", "bf16", "fp16"),
}
FIELDS = {f.name: f for f in dataclasses.fields(Options)}
TYPES = typing.get_type_hints(Options)


class RecipeLoader(yaml.SafeLoader):
    """YAML in which ``no`` is a language (Norwegian) and a precision, not false, and a key may stand only once."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise UserError(f"{self.name}:{key.start_mark.line + 1}: the option {key.value!r} stands twice; keep one")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


RecipeLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rsplit(":", 1)[1] in ("int", "float", "null")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
RecipeLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|false"), list("tf"))


def read_recipe(path: str | Path) -> dict:
    """The mapping in a YAML recipe, unchecked; ``UserError`` names file and line where it cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            recipe = yaml.load(file, RecipeLoader)
    except OSError as error:
        raise UserError(f"{path}: cannot read the recipe ({error.strerror}); name an existing YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise UserError(f"{path}{where}: not a YAML recipe ({problem}); expected lines like 'epochs: 3'") from None
    if recipe is None:
        return {}
    if not isinstance(recipe, dict) or not all(isinstance(key, str) for key in recipe):
        raise UserError(f"{path}: expected lines like 'epochs: 3', found {type(recipe).__name__}")
    return recipe


def describe(kind) -> str:
    """A type in the words of a message: ``list[str] | None`` -> "a list of words"."""
    kind = strip_optional(kind)
    words = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    if kind in words:
        return words[kind]
    plural = {str: "words", int: "whole numbers"}
    if typing.get_origin(kind) is list:
        return f"a list of {plural[typing.get_args(kind)[0]]}"
    return "a mapping such as {de: 0.5}"


def strip_optional(kind):
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return next(k for k in typing.get_args(kind) if k is not type(None))
    return kind


def convert(value, kind):
    """``value`` (from YAML or the command line) as ``kind``; ``ValueError`` where it is not one."""
    if value is None:
        if type(None) in typing.get_args(kind):
            return None
        raise ValueError
    kind = strip_optional(kind)
    if typing.get_origin(kind) is list:
        items = value if isinstance(value, list) else [value]
        return [convert(item, typing.get_args(kind)[0]) for item in items]
    if typing.get_origin(kind) is dict:
        if not isinstance(value, dict):
            raise ValueError
        return {convert(key, str): convert(item, float) for key, item in value.items()}
    if kind is bool:
        if not isinstance(value, bool):
            raise ValueError
        return value
    if isinstance(value, (bool, list, dict)):
        raise ValueError
    if kind is str:
        return str(value)
    if kind is int:
        if isinstance(value, float) and value != int(value):
            raise ValueError
        return int(value)
    number = float(value)  # also '5e-5', which YAML 1.1 reads as text
    if not math.isfinite(number):
        raise ValueError
    return number


def resolve(recipe: dict, source: str = "") -> Options:
    """Checked options from a mapping; one ``UserError`` that lists every problem, one a line."""
    problems, values = [], {}
    for name, value in recipe.items():
        if name not in FIELDS:
            near = difflib.get_close_matches(name, FIELDS, n=1)
            problems.append(f"unknown option '{name}'" + (f"; did you mean '{near[0]}'?" if near else "; see --help"))
            continue
        try:
            values[name] = convert(value, TYPES[name])
        except (ValueError, TypeError, OverflowError):
            problems.append(f"{name}: expected {describe(TYPES[name])}, found {value!r}")
    options = Options(**values)
    problems += check(options)
    if problems:
        raise UserError("\n".join(f"{source}{': ' if source else ''}{problem}" for problem in problems))
    return options


def check(options: Options) -> list[str]:
    """Problems of values and combinations, each a sentence that says what would be right."""
    problems = []

    def require(condition: bool, text: str):
        if not condition:
            problems.append(text)

    for name, allowed in CHOICES.items():
        value = getattr(options, name)
        near = difflib.get_close_matches(value, allowed, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        require(value in allowed, f"{name}: expected one of {', '.join(allowed)}, found '{value}'{hint}")
    for name in ("epochs", "batch_size", "log_every"):
        require(getattr(options, name) >= 1, f"{name}: expected at least 1, found {getattr(options, name)}")
    for name in ("num_train_sentences", "max_steps", "micro_batch_size", "patience"):
        value = getattr(options, name)
        require(value is None or value >= 1, f"{name}: expected at least 1, found {value}")
    for name in ("sample_seed", "seed"):
        value = getattr(options, name)
        require(0 <= value < 2**32, f"{name}: expected a number from 0 to 4294967295, found {value}")
    for name in ("train_langs", "eval_langs", "validation_langs", "seeds", "tags"):
        value = getattr(options, name)
        if value is not None:
            require(len(value) > 0, f"{name}: expected at least one, found none")
            require(len(set(value)) == len(value), f"{name}: {value} names one twice; keep one")
    for lang, share in options.fractions.items():
        require(0 < share <= 1, f"fractions: expected a share above 0 and up to 1 for '{lang}', found {share}")
    require(16 <= options.max_length, f"max_length: expected at least 16, found {options.max_length}")
    require(options.stride is None or 0 <= options.stride <= options.max_length // 2,
            f"stride: expected 0 to half of max_length ({options.max_length // 2}), found {options.stride}")
    require(options.learning_rate > 0, f"learning_rate: expected a number above 0, found {options.learning_rate}")
    require(options.weight_decay >= 0, f"weight_decay: expected at least 0, found {options.weight_decay}")
    require(options.max_grad_norm > 0, f"max_grad_norm: expected a number above 0, found {options.max_grad_norm}")
    require(0 <= options.warmup_ratio < 1, f"warmup_ratio: expected 0 up to below 1, found {options.warmup_ratio}")
    require(options.dropout is None or 0 <= options.dropout < 1, f"dropout: expected 0 up to below 1, found {options.dropout}")
    every = options.checkpoint_every
    require(every in (None, "none", "epoch") or (every.isdecimal() and int(every) > 0),
            f"checkpoint_every: expected a number of steps, epoch or none, found '{every}'")
    scored = options.validation_langs or options.eval_langs
    require(options.select in ("last", "mean", *scored),
            f"select: expected last, mean or one of {', '.join(scored)}, found '{options.select}'")
    require(options.patience is None or options.select != "last",
            "patience: needs to know what better means; set select to mean or to a language")
    require(options.seeds is None or options.seed == FIELDS["seed"].default,
            "seed and seeds exclude each other; keep one")
    require(options.seeds is None or not options.resume or options.output_dir is not None,
            "resume: with seeds, name the output_dir to continue")
    require(not options.public or options.push_to_hub is not None, "public: needs push_to_hub user/name")
    return problems


def as_recipe(options: Options) -> dict:
    """What ``config.yaml`` holds: every option but where the run lies and whether it was resumed."""
    return {name: value for name, value in dataclasses.asdict(options).items() if name not in NOT_IN_CONFIG}


class Parser(argparse.ArgumentParser):
    """argparse whose complaints are ``UserError``, so that all of them leave by one door."""

    def error(self, message):
        raise UserError(f"{message}; see --help")


def parser(description: str) -> Parser:
    """The command line of ``train.py``: one ``--name`` an option, values in YAML's syntax, lists also as several words."""
    result = Parser(description=description, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    groups = {}
    result.add_argument("--config", metavar="FILE", help="YAML recipe that sets any of the options below")
    for name, f in FIELDS.items():
        group = f.metadata["group"]
        if group not in groups:
            groups[group] = result.add_argument_group(group)
        default = f.default_factory() if f.default is dataclasses.MISSING else f.default
        shown = " ".join(default) if isinstance(default, list) else str(default).lower() if isinstance(default, bool) else default
        text = f.metadata["help"].replace("%", "%%")
        text += "" if default in (None, {}) else f" [{shown}]"
        kind = strip_optional(TYPES[name])
        metavar = {"str": "TEXT", "int": "N", "float": "X", "bool": "true|false"}.get(getattr(kind, "__name__", ""), "VALUE")
        metavar = "|".join(CHOICES[name]) if name in CHOICES else metavar
        groups[group].add_argument(f"--{name}", nargs="*", metavar=metavar, help=text, default=argparse.SUPPRESS)
    return result


def command_line_values(words: dict[str, list[str]]) -> dict:
    """Values of ``--name word word ...`` as YAML would give them: no word is true, several are a list, a=b a mapping."""
    values = {}
    for name, given in words.items():
        kind = strip_optional(TYPES[name])
        if kind is bool and not given:
            values[name] = True
        elif typing.get_origin(kind) is dict and given and not given[0].startswith("{"):
            values[name] = dict(word.split("=", 1) if "=" in word else (word, None) for word in given)
        elif kind is str and len(given) == 1:
            values[name] = None if given[0] in ("null", "~") and type(None) in typing.get_args(TYPES[name]) else given[0]
        else:
            read = [read_word(word) for word in given]
            values[name] = read[0] if len(read) == 1 else read
    return values


def read_word(word: str):
    try:
        return yaml.load(word, RecipeLoader)
    except (yaml.YAMLError, ValueError):
        return word


def read_arguments(description: str, argv: list[str]) -> tuple[dict, str]:
    """The mapping of recipe plus command line, unchecked, and the recipe's path (or '')."""
    known, rest = parser(description).parse_known_args(argv)
    if rest and not rest[0].startswith("--"):
        raise UserError(f"unexpected '{rest[0]}'; options start with --, see --help")
    words = vars(known)
    path = words.pop("config") or ""
    recipe = read_recipe(path) if path else {}
    unknown = {word[2:].split("=", 1)[0]: None for word in rest if word.startswith("--")}
    return {**recipe, **command_line_values(words), **unknown}, path
