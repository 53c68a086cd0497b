"""Every option of a run, defined once: name, default, type, help text with unit, and roles.

A recipe (YAML) is read first and the command line overrides it (`experiment.cli`); both use the same names. All option
problems are reported together, before anything is loaded. Nothing heavy is imported here, so ``--help`` is quick.
"""

import dataclasses
import difflib
import math
import operator
import re
import types
import typing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path


class UserError(Exception):
    """A mistake that the user can fix: the scripts print it as one sentence and exit with status 2."""


def shown(value) -> str:
    """A value as messages show it, cut to a bounded length."""
    return "null" if value is None else repr(value)[:80]


def option(default, group: str, text: str, *, in_config: bool = True, changes_result: bool = True,
           of_data: bool = False, in_card: bool = False):
    """A dataclass field with its help text (with unit), its heading in ``--help`` and its roles.

    in_config: written to the run's config.yaml. changes_result: must be the same to continue a run or to skip a
    finished one. of_data: decides which data are read. in_card: listed in the model card's recipe.
    """
    metadata = {"group": group, "help": text, "in_config": in_config, "changes_result": changes_result,
                "of_data": of_data, "in_card": in_card}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Options:
    """The resolved options of one run; its ``config.yaml`` holds all of them except ``output_dir``, ``resume``
    and ``device``."""

    dataset: str = option("swiss", "data", "swiss (built in), panx (from the Hub), or a data set's Hub name or folder",
                          of_data=True)
    data_dir: str | None = option(None, "data", "folder with <lang>/{train,dev,test} files; overrides dataset",
                                  of_data=True)
    revision: str | None = option(None, "data", "commit, tag or branch of the data set on the Hub",
                                  of_data=True, in_card=True)
    languages: dict[str, str] = option({}, "data", "what a Hub data set calls a language (configuration, folder or "
                                       "column value), for example en='English (EN)' [default: the same name]",
                                       of_data=True, in_card=True)
    split_seed: int | None = option(None, "data", "seed for drawing missing splits of a Hub data set, a tenth of the "
                                    "training sentences each [default: none are drawn]", of_data=True, in_card=True)
    train_langs: list[str] = option(["de"], "data", "languages to train on")
    eval_langs: list[str] = option(["de", "fr", "it", "en"], "data", "languages to score (of a Hub data set other "
                                   "than panx, train_langs if only those are given)")
    validation_langs: list[str] | None = option(None, "data", "languages to score after every epoch "
                                                "[default: eval_langs]")
    fractions: dict[str, float] = option({}, "data", "share of each split to keep, per language, for "
                                         "example de=0.629 [default: 1]", of_data=True)
    sample_seed: int = option(0, "data", "seed of the shuffle before fractions are taken", of_data=True, in_card=True)
    num_train_sentences: int | None = option(None, "data", "training sentences per language [default: all]",
                                             in_card=True)
    tags: list[str] | None = option(None, "data", "tags in the order of their ids [default: as in the training data]",
                                    of_data=True)
    token_column: str | None = option(None, "data", "column of the words: its number from 1 or its name in the header "
                                      "[default: found by its content]", of_data=True)
    tag_column: str | None = option(None, "data", "column of the tags, likewise [default: found by its content]",
                                    of_data=True)
    tag_scheme: str | None = option(None, "data", "scheme of the tags in files: IO, IOB1, IOB2, IOE, BIOES, BILOU or "
                                    "BMES, or their spelling (B_TYPE, BTYPE, TYPE-B, TYPE_B) [default: found by the "
                                    "tags]", of_data=True)
    max_length: int = option(512, "data", "subwords per window, including special tokens", in_card=True)
    stride: int | None = option(None, "data", "subwords shared by neighbouring windows [default: half of max_length]",
                                in_card=True)
    exclude: str | None = option(None, "data", "TSV of training sentences to leave out (from evaluate.py suspects)")

    # compared by its weights, not by its name
    teacher: str | None = option(None, "data", "model that tags pseudo_langs: a run (its folder or, in one study, its "
                                 "name), a model folder or Hub name", changes_result=False)
    pseudo_langs: list[str] | None = option(None, "data", "languages whose training sentences are trained on with the "
                                            "teacher's tags instead of their own", in_card=True)
    pseudo_confidence: float = option(0.0, "data", "probability below which the teacher's tag of a word is not trained "
                                      "on", in_card=True)
    pseudo_share: float = option(1.0, "data", "share of the pseudo sentences to keep, per language and predicted type: "
                                 "the most certain ones, each judged by its least certain word", in_card=True)

    model: str = option("e5-small", "model", "e5-small (built in), or a RoBERTa-like encoder's Hub name or folder")
    model_revision: str | None = option(None, "model", "commit, tag or branch of the model on the Hub", in_card=True)
    dropout: float | None = option(None, "model", "dropout probability, everywhere [default: the encoder's own]",
                                   in_card=True)
    attention: str = option("packed", "model", "packed (computes only real tokens) or padded (same result, slower)")
    freeze: int | None = option(None, "model", "number of lowest layers to freeze, with the embeddings (0: only the "
                                "embeddings) [default: train everything]", in_card=True)
    compile: bool = option(False, "model", "compile the encoder with torch.compile (same result up to rounding; the "
                           "first steps take long)", in_card=True)
    active_vocabulary: bool = option(True, "model", "train only the embedding rows that the data use (same result)")

    epochs: int = option(3, "optimisation", "passes over the training sentences", in_card=True)
    max_steps: int | None = option(None, "optimisation", "maximum number of optimizer steps [default: no limit]",
                                   in_card=True)
    batch_size: int = option(64, "optimisation", "sentences per optimizer step, over all processes", in_card=True)
    micro_batch_size: int | None = option(None, "optimisation", "windows per forward pass (less memory, same "
                                           "step) [default: all]")
    learning_rate: float = option(5e-5, "optimisation", "peak learning rate of AdamW", in_card=True)
    weight_decay: float = option(0.01, "optimisation", "decoupled weight decay, not applied to biases and LayerNorm",
                                 in_card=True)
    warmup_ratio: float = option(0.0, "optimisation", "share of the steps during which the learning rate rises",
                                 in_card=True)
    max_grad_norm: float = option(1.0, "optimisation", "maximum L2 norm of the gradient; larger ones are clipped",
                                  in_card=True)
    label_smoothing: float = option(0.0, "optimisation", "probability spread over all tags in the training loss",
                                    in_card=True)
    class_weights: dict[str, float] = option({}, "optimisation", "factor of the training loss per entity type or O, "
                                             "for example PER=2 [default: 1]", in_card=True)
    seed: int = option(42, "optimisation", "seed of the head's initial weights, dropout and data order",
                       in_card=True)
    seeds: list[int] | None = option(None, "optimisation", "train once per seed and report mean and standard deviation")

    output_dir: str | None = option(None, "run", "folder of the run [default: runs/RECIPE, then runs/RECIPE-2, ...]",
                                    in_config=False, changes_result=False)
    device: str = option("auto", "run", "auto (a GPU if there is one), cpu, cuda, or mps (a Mac's GPU)",
                         in_config=False, changes_result=False)
    mixed_precision: str = option("auto", "run", "no (fp32), bf16, fp16, or auto (what the launcher sets, or "
                                  "bf16 where it is faster, fp16 on other CUDA GPUs, or else no)", in_card=True)
    deterministic: bool = option(False, "run", "let a GPU use only algorithms that give the same numbers every time "
                                 "(slower)", changes_result=False)
    log_every: int = option(10, "run", "optimizer steps between points of the training curves",
                            changes_result=False)
    checkpoint_every: str | None = option("epoch", "run", "optimizer steps between checkpoints, epoch, or none",
                                          changes_result=False)
    resume: bool = option(False, "run", "continue from the newest intact checkpoint in output_dir",
                          in_config=False, changes_result=False)
    select: str = option("last", "run", "epoch to keep: last, mean (best mean validation F1) or a language (its best)",
                         in_card=True)
    patience: int | None = option(None, "run", "stop after this many epochs without improvement [default: never]",
                                  in_card=True)
    decode: str = option("viterbi", "run", "viterbi (the most probable legal tags of a sentence: I-X only after B-X or "
                         "I-X) or argmax (the most probable tag of each word)", in_card=True)
    average: str = option("none", "run", "snapshots of the weights to average: their number, epoch (one at the end of "
                          "each) or none; the mean is kept if its validation F1 is at least as good", in_card=True)
    average_from: float = option(0.3, "run", "share of the steps before the first snapshot for average",
                                 in_card=True)
    push_to_hub: str | None = option(None, "run", "upload model/ to this Hub repository (user/name), as private",
                                     changes_result=False)
    public: bool = option(False, "run", "make the uploaded repository public", changes_result=False)


CHOICES = {"attention": ("packed", "padded"), "decode": ("viterbi", "argmax"),
           "device": ("auto", "cpu", "cuda", "mps"),
           "mixed_precision": ("auto", "no", "bf16", "fp16"),
           "tag_scheme": ("IO", "IOB1", "IOB2", "IOE", "BIOES", "BILOU", "BMES", "B_TYPE", "BTYPE", "TYPE-B", "TYPE_B")}
AT_LEAST = {"epochs": 1, "max_steps": 1, "batch_size": 1, "micro_batch_size": 1, "num_train_sentences": 1,
            "log_every": 1, "patience": 1, "max_length": 16, "weight_decay": 0, "freeze": 0}
NO_TEXT = re.compile("[\0-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")  # not allowed in a path, or garbles a message
FIELDS = {f.name: f for f in dataclasses.fields(Options)}
NOT_IN_CONFIG = tuple(name for name, f in FIELDS.items() if not f.metadata["in_config"])
HINTS = typing.get_type_hints(Options)
KINDS = {name: typing.get_args(hint)[0] if isinstance(hint, types.UnionType) else hint for name, hint in HINTS.items()}
DESCRIPTIONS = {  # kind -> in a message, in --help
    str: ("text", "TEXT"), int: ("a whole number", "N"), float: ("a number", "X"),
    bool: ("true or false", "[true|false]"), list[str]: ("a list of words", "TEXT ..."),
    list[int]: ("a list of whole numbers", "N ..."), dict[str, float]: ("a mapping such as {de: 0.5}", "NAME=X ..."),
    dict[str, str]: ("a mapping such as {de: German}", "NAME=TEXT ..."),
}


def convert(value, kind):
    """A value from YAML or the command line, converted to ``kind``; ``ValueError`` or ``KeyError`` if that fails."""
    if typing.get_origin(kind) is list:
        return [convert(item, typing.get_args(kind)[0]) for item in (value if isinstance(value, list) else [value])]
    if typing.get_origin(kind) is dict and isinstance(value, dict):
        return {convert(key, str): convert(item, typing.get_args(kind)[1]) for key, item in value.items()}
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
    """Checked options from a mapping; one ``UserError`` lists all problems, one per line."""
    problems: list[str] = []
    values: dict[str, typing.Any] = {}  # converted to the type of the option
    for name, value in recipe.items():
        if name not in FIELDS:
            problems.append(f"unknown option {shown(name)}{closest(name, FIELDS) or '; see --help'}")
            continue
        try:
            values[name] = None if value is None and HINTS[name] != KINDS[name] else convert(value, KINDS[name])
        except (ValueError, KeyError, OverflowError):
            problems.append(f"{name}: expected {DESCRIPTIONS[KINDS[name]][0]}, found {shown(value)}")
    if from_hub(values) and "train_langs" in values:  # a data set of other languages than the built-in corpus has
        values.setdefault("eval_langs", values["train_langs"])
    options = Options(**values)
    problems += check(options)
    if problems:
        raise UserError("\n".join(f"{source}{': ' if source else ''}{problem}" for problem in problems))
    return options


def from_hub(values: dict) -> bool:
    """Whether the data are those of a data set in the Hub's layout, named by the user."""
    return values.get("data_dir") is None and values.get("dataset", Options.dataset) not in ("swiss", "panx")


def check(o: Options) -> list[str]:
    """Problems with values and combinations, each a sentence that says what was expected."""
    problems = []

    def expect(name: str, right, text: str, hint: str = ""):
        """Note a problem unless the option is null or `right` is true of its value."""
        value = getattr(o, name)
        if value is not None and not right(value):
            problems.append(f"{name}: expected {text}, found {shown(value)}{hint}")

    for name, allowed in {**CHOICES, "select": ("last", "mean", *(o.validation_langs or o.eval_langs))}.items():
        expect(name, partial(operator.contains, allowed), f"one of {', '.join(allowed)}",
               closest(getattr(o, name) or "", allowed))
    for name, least in AT_LEAST.items():
        expect(name, partial(operator.le, least), f"at least {least}")
    for name in ("learning_rate", "max_grad_norm"):
        expect(name, lambda value: value > 0, "a number above 0")
    for name in ("warmup_ratio", "average_from", "dropout", "label_smoothing", "pseudo_confidence"):
        expect(name, lambda value: 0 <= value < 1, "at least 0 and below 1")
    expect("pseudo_share", lambda value: 0 < value <= 1, "a share above 0 and up to 1")
    for name in ("sample_seed", "split_seed", "seed"):
        expect(name, lambda value: 0 <= value < 2**32, "0 to 4294967295")
    expect("seeds", lambda value: all(0 <= seed < 2**32 for seed in value), "numbers from 0 to 4294967295")
    for name in ("train_langs", "eval_langs", "validation_langs", "pseudo_langs", "seeds", "tags"):
        expect(name, len, "at least one")
        expect(name, lambda value: len(set(value)) == len(value), "no duplicates")
    expect("pseudo_langs", lambda value: not set(value) & set(o.train_langs), "different languages than train_langs")
    expect("languages", lambda value: len(set(value.values())) == len(value), "a different name for each language")
    expect("class_weights", lambda value: all(weight > 0 for weight in value.values()), "factors above 0")
    expect("fractions", lambda value: all(0 < share <= 1 for share in value.values()), "shares above 0 and up to 1")
    expect("stride", lambda value: 0 <= value <= o.max_length // 2, f"0 to half of max_length ({o.max_length // 2})")
    expect("checkpoint_every", lambda value: value in ("none", "epoch") or re.fullmatch("[1-9][0-9]{0,17}", value),
           "a number of steps, epoch or none")
    expect("average", lambda value: value in ("none", "epoch") or re.fullmatch("[2-9]|[1-9][0-9]{1,3}", value),
           "a number of snapshots from 2 to 9999, epoch or none")
    wrong = {
        "patience: needs a score to improve; set select to mean or to a language": o.patience and o.select == "last",
        "seed and seeds exclude each other; keep one": o.seeds is not None and o.seed != Options.seed,
        "resume: with seeds, set output_dir to the study to continue": o.resume and o.seeds and o.output_dir is None,
        "teacher: needs pseudo_langs, the languages that it tags": o.teacher is not None and not o.pseudo_langs,
        "pseudo_langs: needs teacher, the model that tags them": o.pseudo_langs and o.teacher is None,
        "pseudo_confidence: needs teacher and pseudo_langs": o.pseudo_confidence and not (o.teacher or o.pseudo_langs),
        "pseudo_share: needs teacher and pseudo_langs": o.pseudo_share != 1 and not (o.teacher or o.pseudo_langs),
        "average_from: needs average; set it to epoch or to a number of snapshots":
            o.average == "none" and o.average_from != Options.average_from,
        "public: needs push_to_hub user/name": o.public and o.push_to_hub is None,
        "split_seed: only for a Hub data set; remove it": o.split_seed is not None and not from_hub(vars(o)),
        "languages: only for a Hub data set; remove it": o.languages and not from_hub(vars(o)),
    }
    return problems + [text for text, found in wrong.items() if found]


def as_recipe(options: Options) -> dict:
    """What ``config.yaml`` holds: every option except the run's folder, its device, and whether it was resumed."""
    return {name: value for name, value in dataclasses.asdict(options).items() if name not in NOT_IN_CONFIG}


def with_role(values: dict, role: str) -> dict:
    """The entries of `values` (by option name) whose option has this role (see `option`)."""
    return {name: value for name, value in values.items() if name in FIELDS and FIELDS[name].metadata[role]}


def same(name: str, a: typing.Any, b: typing.Any) -> bool:
    """Whether two values of an option mean the same; a folder may be given by another path."""
    return a == b or (name == "data_dir" and bool(a and b) and Path(a).resolve() == Path(b).resolve())
