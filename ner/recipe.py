"""YAML recipes -> a mapping of options, unchecked (`options.resolve` checks it).

Values that YAML would misread stay text (``no`` is Norwegian, 0123456 a commit, 1.10 a version) until the option's type
decides how to read them.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from ner.options import UserError, shown

MAX_RECIPE = 1 << 16  # characters


class RecipeLoader(yaml.SafeLoader):
    """YAML with text, whole numbers, true, false, null, lists and mappings only. Duplicate keys are refused, and so are
    aliases: a few lines of them can expand to more values than fit into memory."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="an alias; repeat the value", problem_mark=self.peek_event().start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"duplicate key {shown(key.value)}",
                                           problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


RecipeLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith(":null")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()}
RecipeLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("(true|false)$"), list("tf"))
RecipeLoader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile("-?(0|[1-9][0-9]*)$"), list("-0123456789"))
NOT_YAML = (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError)  # the others: explicit tags


def read_recipe(path: str | Path) -> dict:
    """The mapping in a YAML recipe, unchecked; ``UserError`` with file and line if it cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(MAX_RECIPE + 1)
        if len(text) > MAX_RECIPE:
            raise ValueError(f"longer than {MAX_RECIPE:,} characters")
        recipe = yaml.load(text, RecipeLoader)  # noqa: S506  # it is a SafeLoader
    except OSError as error:
        raise UserError(f"{path}: cannot read the recipe ({error.strerror}); name an existing YAML file") from None
    except NOT_YAML as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise UserError(f"{path}{where}: not a YAML recipe ({problem[:99]}); expected lines like 'epochs: 3'") from None
    if not isinstance(recipe, dict | None):
        raise UserError(f"{path}: expected lines like 'epochs: 3', found {shown(recipe)}")
    return {key if isinstance(key, str) else shown(key): value for key, value in (recipe or {}).items()}


def read_word(word: str):
    """A word of the command line as YAML reads it; as it is, if it is no YAML."""
    try:
        return yaml.load(word, RecipeLoader)  # noqa: S506  # it is a SafeLoader
    except NOT_YAML:
        return word


def is_study(recipe: Mapping) -> bool:
    """Whether a recipe, or the config.yaml of a folder, describes several runs."""
    return "runs" in recipe or recipe.get("seeds") is not None
