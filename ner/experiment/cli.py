"""The command line, with a recipe or without -> a mapping of options, unchecked (`options.resolve` checks it)."""

import argparse
import typing
from collections.abc import Sequence

from ner.options import DESCRIPTIONS, FIELDS, KINDS, NO_TEXT, NOT_IN_CONFIG, Options, UserError, shown
from ner.recipe import read_recipe, read_word


class Parser(argparse.ArgumentParser):
    """argparse that raises ``UserError``, so that all errors are reported in the same way."""

    def error(self, message):
        raise UserError(f"{message}; see --help")


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Shows just the metavar for options with several words: "TEXT ...", not "TEXT ... [TEXT ... ...]"."""

    def _format_args(self, action, default_metavar):
        return action.metavar if action.nargs in ("*", "+") else super()._format_args(action, default_metavar)


def parser(description: str) -> Parser:
    """The command line of ``train.py``. Every option takes any number of words here; `resolve` checks them."""
    result = Parser(description=description, usage="train.py [--config FILE] [--OPTION VALUE ...]", allow_abbrev=False,
                    formatter_class=lambda prog: HelpFormatter(prog, max_help_position=32))
    result.add_argument("--config", metavar="FILE",
                        help="YAML recipe that sets any of the options below [default: none]")
    groups = {title: result.add_argument_group(title) for title in ("data", "model", "optimisation", "run")}
    for name, f in FIELDS.items():
        default = getattr(Options(), name)
        value = "none" if default in (None, {}) else " ".join(default) if KINDS[name] == list[str] else str(default)
        text = f.metadata["help"] + ("" if "default:" in f.metadata["help"] else f" [default: {value.lower()}]")
        groups[f.metadata["group"]].add_argument(
            f"--{name}", nargs="*", metavar=DESCRIPTIONS[KINDS[name]][1], help=text, default=argparse.SUPPRESS)
    return result


def command_line_values(words: dict[str, list[str]]) -> dict:
    """Values of ``--name word word ...`` as YAML reads them; no word means true, several a list, a=b a mapping."""
    values: dict[str, object] = {}
    for name, given in words.items():
        kind = KINDS[name]
        if kind is not str and given and given[0].startswith(("[", "{")):  # the shell has split it at spaces
            given = [" ".join(given)]
        if kind is bool and not given:
            values[name] = True
        elif typing.get_origin(kind) is dict and given and not given[0].startswith("{"):
            pairs = (word.partition("=") for word in given)
            values[name] = {key: value if sign else None for key, sign, value in pairs}
        elif kind is str and len(given) == 1:
            values[name] = None if given[0] in ("null", "~") else given[0]
        else:
            read = [read_word(word) for word in given]
            values[name] = read[0] if len(read) == 1 else read
    return values


def refuse_control_characters(words: Sequence[str]) -> None:
    """They would garble the messages that quote them; bytes that are not UTF-8 arrive as surrogates."""
    if odd := next((word for word in words if NO_TEXT.search(word)), None):
        raise UserError(f"{shown(odd)} contains a control character or is not UTF-8; expected plain text")


def read_arguments(description: str, argv: list[str]) -> tuple[dict, str]:
    """The mapping from recipe and command line, unchecked, and the recipe's path (or '')."""
    known, rest = parser(description).parse_known_args(argv)
    if rest and not rest[0].startswith("--"):
        hint = "a recipe comes after --config" if rest[0].endswith((".yaml", ".yml")) else "options start with --"
        raise UserError(f"unexpected {shown(rest[0])}; {hint}, see --help")
    refuse_control_characters(argv)
    words = vars(known)
    path = words.pop("config") or ""
    recipe = read_recipe(path) if path else {}
    unknown = {word[2:].split("=", 1)[0]: None for word in rest if word.startswith("--")}
    given = command_line_values(words) | unknown
    if isinstance(recipe.get("runs"), dict):  # the command line also overrides the options of named runs
        one = {name: value for name, value in given.items() if name not in NOT_IN_CONFIG}
        recipe["runs"] = {run: {**own, **one} if isinstance(own, dict) else own for run, own in recipe["runs"].items()}
    return {**recipe, **given}, path
