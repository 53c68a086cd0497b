"""A corpus of five sentences in every format, and as a data set of the Hub's layout."""

import json
from pathlib import Path

from datasets import ClassLabel, Dataset, Features, List, Value

NAMES = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
TYPED = (["Ada", "Li", "leitet", "Ems", "in", "Bern"], ["B-PER", "I-PER", "O", "B-ORG", "O", "B-LOC"])
CORPUS = {"train": [TYPED, (["Ja", "!"], ["O", "O"])], "validation": [(["Thun", ":"], ["B-LOC", "O"])],
          "test": [(["In", "Chur", "."], ["O", "B-LOC", "O"]), (["Li"], ["B-PER"])]}
LAYOUTS = {  # file ending -> one sentence as text
    "": lambda words, tags: "".join(f"de:{word}\t{tag}\n" for word, tag in zip(words, tags)) + "\n",
    ".txt": lambda words, tags: "".join(f"{word} X {tag}\n" for word, tag in zip(words, tags)) + "\n",
    ".conll": lambda words, tags: "".join(f"{word}\t{tag}\n" for word, tag in zip(words, tags)) + "\n",
    ".iob2": lambda words, tags: "".join(["# id\n", *(f"{i}\t{word}\t{tag}\t-\t-\n" for i, word, tag in
                                                     zip(range(1, 999), words, tags)), "\n"]),
    ".jsonl": lambda words, tags: json.dumps({"tokens": words, "tags": tags}) + "\n",
}


def write_files(folder: Path, corpus=CORPUS, ending="", lang="de", names=("train", "dev", "test")) -> Path:
    """A data_dir with the corpus in the format of `ending`."""
    (folder / lang).mkdir(parents=True, exist_ok=True)
    for sentences, name in zip(corpus.values(), names):
        text = "".join(LAYOUTS[ending](*pair) for pair in sentences)
        (folder / lang / f"{name}{ending}").write_text(text, encoding="utf-8")
    return folder


def write_parquet(path: Path, sentences, names=NAMES, words="tokens", tags="ner_tags", **more) -> None:
    """A file of a data set; more: other columns, as (feature, values)."""
    features = {words: List(Value("string")), tags: List(ClassLabel(names=names))}
    columns = {words: [pair[0] for pair in sentences],
               tags: [[names.index(tag) if isinstance(tag, str) else tag for tag in pair[1]] for pair in sentences]}
    features |= {name: feature for name, (feature, _) in more.items()}
    columns |= {name: values for name, (_, values) in more.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    Dataset.from_dict(columns, features=Features(features)).to_parquet(path)


def write_hub(folder: Path, configs: dict[str, dict], **layout) -> str:
    """A data set as the Hub lays it out: Parquet files, and a README whose YAML says which configuration has which."""
    lines = ["---", "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        for split, sentences in splits.items():
            write_parquet(folder / config / f"{split}-00000-of-00001.parquet", sentences, **layout)
            lines += [f"  - split: {split}", f"    path: {config}/{split}-*"]
    (folder / "README.md").write_text("\n".join([*lines, "---", "# A data set", ""]))
    return str(folder)
