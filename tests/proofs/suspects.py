"""How many wrong annotations ``evaluate.py suspects`` finds: ``python -m tests.proofs.suspects``.

Of the German training sentences of the built-in corpus 5 % are given a wrong entity type or boundary, n of them in the
end (some hold no entity). The command is asked for as many suspects: what share of them was injected?

Measured with three of the encoder's twelve layers and 5e-4: of the corpus' 10,000 sentences (2 epochs, batches of 32; 5
minutes of one core) 91 % of 467, of 5,000 (2 epochs, batches of 16) 83 % of 229, of 3,000 (3 epochs) 75 % of 138. The
fewer sentences a half has, the fewer names it has seen in both roles. Chance would be 5 %.
"""

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path

import evaluate as script
from ner.data.swiss import generate
from ner.evaluation.errors import spans
from ner.model import builtin

WRONG = 0.05


def spoiled(tags, rng):
    """The tags with one entity of another type, or one word longer or shorter; None where neither can be had."""
    found = spans(tags)
    if not found:
        return None
    start, end, kind = rng.choice(found)
    if rng.random() < 0.5:
        wrong = rng.choice([other for other in ("PER", "ORG", "LOC") if other != kind])
        return [*tags[:start], *(tag[:2] + wrong for tag in tags[start:end]), *tags[end:]]
    if end < len(tags) and tags[end] == "O":
        return [*tags[:end], f"I-{kind}", *tags[end + 1 :]]
    return [*tags[: end - 1], "O", *tags[end:]] if end - start > 1 else None


def encoder(folder: Path, layers: int) -> Path:
    """The first layers of the built-in encoder."""
    source = builtin.encoder_folder()
    folder.mkdir()
    for name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).symlink_to(source / name)
    config = json.loads((source / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": layers}))
    return folder


def corpus(folder: Path, sentences: int, seed: int) -> tuple[list, dict[int, list[str]]]:
    """A data_dir of the built-in corpus with wrong annotations; its true sentences, and by row the wrong tags."""
    rng = random.Random(seed)
    training = rng.sample(generate.generate("de"), sentences)
    chosen = rng.sample(range(sentences), int(WRONG * sentences))
    wrong = {row: tags for row in chosen if (tags := spoiled(training[row][1], rng)) is not None}
    (folder / "de").mkdir()
    for split, pairs in {"train": [(words, wrong.get(row, tags)) for row, (words, tags) in enumerate(training)],
                         "validation": training[:2], "test": training[:2]}.items():
        text = "\n".join("".join(f"{word}\t{tag}\n" for word, tag in zip(*pair)) for pair in pairs)
        (folder / "de" / f"{split}.tsv").write_text(text, encoding="utf-8")
    return training, wrong


def prove(folder: Path, sentences: int, layers: int, epochs: int, batch_size: int, rate: float, seed: int = 1):
    """The injected errors among the first n suspects, and n, as the real command finds them."""
    training, wrong = corpus(folder, sentences, seed)
    output = folder / "suspects.tsv"
    assert script.main([
        "suspects", "--data_dir", str(folder), "--train_langs", "de",
        "--model", str(encoder(folder / "encoder", layers)), "--epochs", str(epochs), "--batch_size", str(batch_size),
        "--learning_rate", str(rate), "--share", str((len(wrong) + 0.5) / sentences), "--output", str(output)]) == 0
    found = [line.split("\t") for line in output.read_text(encoding="utf-8").split("\n")[1:-1]]
    right = [row for row in found if int(row[2]) in wrong]
    assert len(found) == len(wrong)
    assert all(row[5] == " ".join(wrong[int(row[2])]) and row[7] == " ".join(training[int(row[2])][0]) for row in right)
    return len(right), len(wrong)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.suspects", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=10_000, help="[10000]")
    parser.add_argument("--layers", type=int, default=3, help="of the built-in encoder's twelve [3]")
    parser.add_argument("--epochs", type=int, default=2, help="[2]")
    parser.add_argument("--batch_size", type=int, default=32, help="[32]")
    parser.add_argument("--learning_rate", type=float, default=5e-4, help="[5e-4]")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        right, count = prove(Path(folder), args.sentences, args.layers, args.epochs, args.batch_size,
                             args.learning_rate)
    print(f"{right} of the first {count} suspects were injected: {right / count:.0%}")


if __name__ == "__main__":
    main(sys.argv[1:])
