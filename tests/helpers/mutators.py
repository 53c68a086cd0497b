"""Ways to break files and command lines, for the fuzzer: functions of what is there and of a `random.Random`.

One may leave things as they were (a line swapped with itself): a case is held to what is there, not to a name.
"""

import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file, save_file

from ner.files import checksum
from ner.options import FIELDS

NESTED = "@nested"  # stands for lists too deep for the writers of JSON and YAML
ODD = [None, True, False, -1, 0, 1, 2, 7, 10**30, -1.5, 0.5, 1e308, float("nan"), float("-inf"), "", "x", "16", "ä\0",
       "\ud800", "a\nb", "../x", "/dev/null", "x" * 5000, [], {}, [[]], [None], ["x", "x"], ["de"], {"de": 1}, NESTED]
WORKING = {"attention": "padded", "seed": 7, "stride": 0, "dropout": 0.0, "epochs": 2, "warmup_ratio": 0.5,
           "num_train_sentences": 3, "fractions": {"de": 0.5}, "select": "mean", "log_every": 2,
           "active_vocabulary": False, "batch_size": 10**9, "micro_batch_size": 1, "checkpoint_every": "1",
           "max_length": 16, "validation_langs": ["fr"], "learning_rate": 1e9, "train_langs": ["fr", "de"],
           "tags": ["O", "B-PER"], "max_grad_norm": 1e-300, "tag_scheme": "IOB2", "weight_decay": 1e30}
YAML = ["a: &a [1, 1]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]", "epochs: &n 1\nlog_every: *n", "<<: {epochs: 2}", "{",
        "seed: 1\nseed: 2", "\tseed: 1", "? [seed]\n: 1", "? {a: b}\n: 1", "seed: !!python/object/apply:os.mkdir [x]",
        "seed: !!binary x", "seed: !!timestamp soon", "tags: !!set {O, B-PER}", "- seed", "seed", "--- 1\n--- 2", "é: ",
        "seed: .nan", "learning_rate: .inf", "seed: 0x10", "seed: 1_000", "seeds: [1, 2]", "seeds: [1, 1]", "seeds: {}",
        "seeds: 3", "runs: [a, b]", "runs: {}", "runs: {a: {epochs: 0}, b: 3}", "runs: {../up: {seed: 1}}", "runs: 1",
        "runs: {a: {output_dir: x}}", "runs: {a: {seed: 1}, b: {seed: 2}}", "runs: {1: null, '1': {}}", "%YAML 9",
        "runs: {a: {seeds: [1, 2]}, a/seed-1: null}", "seed: " + "[" * 2000, "seed: '1'", "# more", "? !!map {}\n: 1"]
TAGS = [b"", b"B-", b"b-per", b"I-PER", b"S-LOC", b"B-XYZ", b"B-PER\xe2\x80\xa8", b"B-\xc3\x84", b"O O", b"O\r", b"-",
        b"?", b"PER", b"B_PER", b"E-LOC"]
SPACES = [" ", "\t", "\r", "\v", "\x1c", "\x85", "\xa0", "\u200b", "\u2028", "\u3000", "\ufeff"]
WORDS = ["", "-1", "0", "1", "--nope", "--epochs", "--langs", "--split", "ä", "日本", "x" * 5000, "\udcff", "1e999",
         "~", "9" * 30, "[", "{de: 1", "- a", "--", "-", "null", "true", "run", "encoder", "data", ".", "recipe.yaml",
         "out", "de", "xx", "/dev/null", "run/results.json", "--help", "--output_dir", "--data_dir", "--resume",
         "--seeds", "--share", "--select", "--tags", "nan"]
EVALUATE = ["langs", "split", "data_dir", "dataset", "output_dir", "contains", "sentences", "share", "output"]
TAG_MAPS = [{0: "O", 2: "B-PER"}, {0: "O", 1: "O"}, ["O"], {0: 3}, {0: None}, {}, None, {"x": "O"}, "O", {-1: "O"},
            {10**9: "O"}, {0: "B-PER"}, {0: "O", 1: "I-PER"}, {0: ["O"]}, {0: ""}, {0: "O", "00": "B-PER"}]
TENSORS = {"NaN": lambda t: t.clone().fill_(float("nan")), "infinity": lambda t: t.clone().fill_(float("-inf")),
           "huge": lambda t: t.clone().fill_(3e38), "zeros": torch.zeros_like, "integers": lambda t: t.to(torch.int8),
           "half": lambda t: t.half(), "double": lambda t: t.double(), "flat": lambda t: t.reshape(-1),
           "row more": lambda t: torch.cat([t, t[:1]]), "empty": lambda t: t[:0], "missing": lambda t: None}


def inserted(what: bytes) -> Callable:
    """`what` at any place."""
    def change(data: bytes, rng: random.Random) -> bytes:
        at = rng.randrange(len(data) + 1)
        return data[:at] + what + data[at:]
    return change


def flipped(data: bytes, rng: random.Random) -> bytes:
    """Up to 20 bits."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 3, 20]) if data else 0):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def by_line(change: Callable[[list[bytes], int, random.Random], object]) -> Callable:
    """A change of the lines at one of them."""
    def changed(data: bytes, rng: random.Random) -> bytes:
        lines = data.split(b"\n")
        change(lines, rng.randrange(len(lines)), rng)
        return b"\n".join(lines)
    return changed


def swap(lines: list, i: int, rng: random.Random) -> None:
    """The line with any."""
    j = rng.randrange(len(lines))
    lines[i], lines[j] = lines[j], lines[i]


def cut_line(lines: list, i: int, rng: random.Random) -> None:
    """The line ends at any place."""
    lines[i] = lines[i][: rng.randrange(len(lines[i]) + 1)]


def json_line(lines: list, i: int, rng: random.Random) -> None:
    """One place in the JSON of the line."""
    lines[i] = json.dumps(tree(json.loads(lines[i]), rng)).encode()


def other_tag(lines: list, i: int, rng: random.Random) -> None:
    """Another last cell."""
    lines[i] = lines[i].rpartition(b"\t")[0] + b"\t" + rng.choice(TAGS)


BYTES = {
    "cut": lambda data, rng: data[: rng.randrange(len(data) + 1)],
    "bits flipped": flipped,
    "empty": lambda data, rng: b"",
    "byte order mark": lambda data, rng: b"\xef\xbb\xbf" + data,
    "CRLF": lambda data, rng: data.replace(b"\n", b"\r\n"),
    "UTF-16": lambda data, rng: data.decode("utf-8", "replace").encode("utf-16"),
    "NUL": inserted(b"\0"),
    "surrogate": inserted(b"\xed\xa0\x80"),
    "not UTF-8": inserted(b"\xff"),
    "line of 4 KiB": inserted(b"x" * (1 << 12)),
    "line of 2 MiB": inserted(b"x" * (1 << 21)),
    "line gone": by_line(lambda lines, i, rng: lines.pop(i)),
    "line twice": by_line(lambda lines, i, rng: lines.insert(i, lines[i])),
    "line cut": by_line(cut_line),
    "lines swapped": by_line(swap),
    "blank line": by_line(lambda lines, i, rng: lines.insert(i, b"")),
    "other tag": by_line(other_tag),
    "other JSON": by_line(json_line),
    "odd space": lambda data, rng: inserted(rng.choice(SPACES).encode())(data, rng),
}


def write_tree(path: Path, content) -> None:
    """YAML or JSON, as the name ends."""
    text = yaml.safe_dump(content, sort_keys=False) if path.suffix == ".yaml" else json.dumps(content, indent=1)
    path.write_text(re.sub(f"[\"']?{NESTED}[\"']?", "[" * 3000 + "]" * 3000, text))


def tree(content, rng: random.Random):
    """`content` with one place of its mappings and lists replaced, removed or added."""
    keys = list(content) if isinstance(content, dict) else list(range(len(content)))
    key = rng.choice(keys) if keys else None
    if keys and isinstance(content[key], (dict, list)) and rng.random() < 0.7:
        tree(content[key], rng)
    elif keys and rng.random() < 0.2:
        content.pop(key)
    elif isinstance(content, dict):
        content[key if keys and rng.random() < 0.9 else "new"] = rng.choice(ODD)
    else:
        content.insert(rng.randrange(len(content) + 1), rng.choice(ODD))
    return content


def read_tree(path: Path):
    """ValueError where an earlier mutation left no mapping or list."""
    content = yaml.safe_load(path.read_text()) if path.suffix == ".yaml" else json.loads(path.read_text())
    if not isinstance(content, (dict, list)):
        raise ValueError
    return content


def recipe_line(path: Path, rng: random.Random) -> str:
    """One line more, or instead of all."""
    piece = rng.choice(YAML)
    path.write_text(piece if rng.random() < 0.1 else f"{path.read_text()}\n{piece}\n")
    return piece[:30]


def recipe_option(path: Path, rng: random.Random) -> str:
    """One option set to something, right or wrong."""
    content = read_tree(path)
    name = rng.choice([*WORKING, *FIELDS, "runs", "epoch", "1"])
    content[name] = WORKING[name] if name in WORKING and rng.random() < 0.8 else rng.choice(ODD)
    write_tree(path, content)
    return f"{name}: {repr(content[name])[:30]}"


def any_place(path: Path, rng: random.Random) -> str:
    """One place of a tree."""
    write_tree(path, tree(read_tree(path), rng))
    return ""


def one_tensor(path: Path, rng: random.Random) -> str:
    """Other values, type or shape."""
    state = load_file(path)
    name, (kind, change) = rng.choice(sorted(state)), rng.choice(list(TENSORS.items()))
    tensor = change(state.pop(name))
    save_file(state | ({} if tensor is None else {name: tensor}), path)
    return f"{kind} in {name}"


def tag_map(path: Path, rng: random.Random) -> str:
    """Another id2label."""
    tags = rng.choice(TAG_MAPS)
    path.write_text(json.dumps({**read_tree(path), "id2label": tags}))
    return str(tags)


def some_bytes(path: Path, rng: random.Random) -> str:
    """One of `BYTES`."""
    way = rng.choice(list(BYTES))
    path.write_bytes(BYTES[way](path.read_bytes(), rng))
    return way


def other_place(path: Path, rng: random.Random) -> str:
    """A folder, a symlink loop or nothing where the file was."""
    way = rng.choice(["a folder", "a loop", "missing"])
    path.unlink()
    if way == "a folder":
        path.mkdir()
    elif way == "a loop":
        path.symlink_to(path.name)
    return way


def mutate(path: Path, rng: random.Random) -> tuple[str, str]:
    """Break one file in a way that suits its kind or in one that suits any; what was done, and exactly what."""
    suited = {".yaml": [recipe_line, recipe_option, recipe_option, any_place], ".safetensors": [one_tensor] * 3,
              ".json": [any_place] * 3 + [tag_map] * (path.name == "config.json")}.get(path.suffix, [])
    way = rng.choice([*suited, *[some_bytes] * 4, other_place])
    try:
        return way.__name__, f"{path}: {way(path, rng)}"
    except Exception as error:  # an earlier mutation left nothing of its kind
        return "none", f"{path}: nothing more ({type(error).__name__})"


def mutate_words(argv: list[str], rng: random.Random) -> tuple[str, str]:
    """Break a command line behind the script's name: a word gone, twice, replaced or added, or one more option."""
    at, word = rng.randrange(1, len(argv)), rng.choice(WORDS)
    name = rng.choice([*FIELDS, *WORKING] if {"--config", "--resume"} & set(argv) else EVALUATE)
    if rng.random() < 0.6 and not {"tag", "compare", "report"} & set(argv):
        right = WORKING.get(name, word)
        argv += [f"--{name}", word if rng.random() < 0.3 else right if isinstance(right, str) else json.dumps(right)]
        return "word option", f"{name}: {argv[-1][:30]}"
    old = argv[at]
    way, words = rng.choice([("gone", []), ("twice", [old, old]), ("replaced", [word]), ("added", [old, word])])
    argv[at : at + 1] = words
    return f"word {way}", word[:30]


def seal(checkpoints: Path) -> None:
    """Manifests that fit what lies there, so that damage is not noticed by its checksum."""
    for manifest in checkpoints.glob("*/manifest.json"):
        if manifest.is_file():
            files = [path for path in manifest.parent.iterdir() if path.is_file() and path != manifest]
            manifest.write_text(json.dumps({path.name: checksum(path) for path in files}))
