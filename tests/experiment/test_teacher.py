"""Self-training, real scripts end to end: gold tags are never seen, nothing is tagged twice, rounds of a study."""

import json
import shutil
import signal
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file, save_file

import evaluate
import train
from ner.data.swiss import generate
from tests.helpers import doubles, runs
from tests.helpers.folders import TAGS, lexicon_folder
from tests.helpers.processes import together

pytestmark = pytest.mark.slow
STUDENT = {"pseudo_langs": ["fr", "it"], "pseudo_confidence": 0.95, "pseudo_share": 0.6}


def write(path: Path, sentences) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ("".join(f"{word}\t{tag}\n" for word, tag in zip(*pair)) for pair in sentences)
    path.write_text("\n".join(rows), encoding="utf-8")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A small encoder, German in three "languages", and a recipe; the teacher learns from some of the sentences by
    heart, so that it finds entities in them."""
    folder = tmp_path_factory.mktemp("world")
    runs.make_recipe(folder, eval_langs=["de", "fr", "it"], checkpoint_every="4", train_langs=["de"])
    shutil.rmtree(folder / "data")
    sentences = generate.sentences("de", "train")
    for lang, start in (("de", 0), ("fr", 10), ("it", 20)):
        write(folder / "data" / lang / "train.tsv", sentences[start : start + 24])
        for split in ("validation", "test"):
            write(folder / "data" / lang / f"{split}.tsv", sentences[start + 2 : start + 8])
    shutil.copytree(folder / "data", folder / "untouched")
    return folder


@pytest.fixture(scope="module")
def teacher(world) -> Path:
    status, log = runs.run_forked(runs.arguments(world / "recipe.yaml", world / "teacher", "--epochs", "25"),
                                  world / "log")
    assert status == 0, log
    return world / "teacher"


@pytest.fixture
def data(world):
    """The data, which are the same again after a test that spoils them."""
    yield world / "data"
    shutil.rmtree(world / "data")
    shutil.copytree(world / "untouched", world / "data")


@pytest.fixture(scope="module")
def recipe(world, teacher) -> Path:
    """The student's."""
    path = world / "student.yaml"
    own = yaml.safe_load((world / "recipe.yaml").read_text())
    path.write_text(yaml.safe_dump({**own, "teacher": str(teacher), **STUDENT}))
    return path


def run(recipe: Path, output: Path, *more: str, prepare=(doubles.keep_checkpoints,), status: int = 0) -> str:
    found, log = runs.run_forked(runs.arguments(recipe, output, *more), output.parent / "log", *prepare)
    assert found == status, log
    return log


@pytest.fixture(scope="module")
def straight(recipe, world) -> Path:
    run(recipe, world / "straight")
    return world / "straight"


def read(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def lines(folder: Path, lang: str) -> list[dict]:
    text = (folder / lang / "train.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def test_a_run_says_what_it_learned_from(straight, teacher, world):
    train_part = read(straight)["train"]
    about = train_part["pseudo"]
    assert about["teacher"] == str(teacher) and list(about["languages"]) == ["fr", "it"]
    assert train_part["langs"] == ["de"]
    assert train_part["sentences"] == 24 + sum(one["sentences"] for one in about["languages"].values())
    for lang, one in about["languages"].items():
        found = lines(straight / "pseudo", lang)
        tags = [tag for sentence in found for tag in sentence["tags"]]
        assert one == {"tagged": 24, "sentences": len(found), "words": len(tags), "masked": tags.count("?"),
                       "entities": {kind: tags.count(f"B-{kind}") for kind in ("PER", "ORG", "LOC")}}
        assert 0 < one["masked"] < one["words"] and sum(one["entities"].values()) > 0  # it shows something
        source = (world / "untouched" / lang / "train.tsv").read_text(encoding="utf-8").split("\n\n")
        for sentence in found:
            assert sentence["tokens"] == [line.split("\t")[0] for line in source[sentence["row"]].strip().split("\n")]
    card = (straight / "model" / "README.md").read_text(encoding="utf-8")
    assert "Unlabelled text of fr, it was used as well, so the model is not zero-shot there: another model, " in card
    assert "`teacher`, tagged these training sentences" in card and "fr (with target text)" in card
    assert "(zero-shot)" not in card and str(world) not in card


def spoil(path: Path, how) -> None:
    """The file with other tags."""
    text = path.read_text(encoding="utf-8").split("\n")
    path.write_text("\n".join(f"{line.split(chr(9))[0]}\t{how(i)}" if line else "" for i, line in enumerate(text)))


@pytest.mark.parametrize("how", [
    pytest.param(lambda i: "O", id="all O"), pytest.param(lambda i: ["O", *TAGS[1::2]][i * i % 4], id="other tags"),
    pytest.param(lambda i: "B-XYZ" if i % 5 == 0 else "O", id="unknown types"),
    pytest.param(lambda i: ["O", "?", "B-PER"][i % 3], id="some unannotated")])
def test_gold_tags_of_the_pseudo_languages_are_never_seen(recipe, straight, data, tmp_path, how):
    for lang in ("fr", "it"):
        spoil(data / lang / "train.tsv", how)
    log = run(recipe, tmp_path / "run")
    runs.assert_same_run(tmp_path / "run", straight)
    assert "XYZ" not in log
    for path in ("pseudo.json", "fr/train.jsonl", "it/train.jsonl"):
        assert (tmp_path / "run" / "pseudo" / path).read_bytes() == (straight / "pseudo" / path).read_bytes()


def no_teacher() -> None:
    """In place of tagging: it may not happen again."""
    doubles.keep_checkpoints()
    doubles.die_in("pseudo_labelled")


def test_kills_leave_no_trace_and_nothing_is_tagged_again(recipe, straight, tmp_path):
    output = tmp_path / "run"
    run(recipe, output, "--resume", prepare=(doubles.die_in, "pseudo_labelled"), status=-9)
    assert not output.exists()
    run(recipe, output, "--resume", prepare=(doubles.die_in, "pseudo_checksum"), status=-9)
    assert (output / "config.yaml").exists() and not (output / "pseudo").exists()
    run(recipe, output, "--resume", prepare=(doubles.signal_at, 2, signal.SIGKILL), status=-9)
    kept = {path: path.read_bytes() for path in (output / "pseudo").rglob("*") if path.is_file()}
    assert len(kept) == 3 and not list(output.glob(".pseudo*"))
    run(recipe, output, "--resume", prepare=(doubles.signal_at, 6, signal.SIGKILL), status=-9)
    log = run(recipe, output, "--resume", prepare=(no_teacher,))
    assert "continuing after step 4" in log and "tagging" not in log
    runs.assert_same_run(output, straight)
    assert {path: path.read_bytes() for path in (output / "pseudo").rglob("*") if path.is_file()} == kept


def test_other_options_before_the_first_checkpoint_tag_again(recipe, straight, tmp_path):
    output = tmp_path / "run"
    run(recipe, output, "--pseudo_share", "0.1", prepare=(doubles.signal_at, 1, signal.SIGKILL), status=-9)
    few = len(lines(output / "pseudo", "fr"))
    run(recipe, output, "--resume")
    assert few < len(lines(output / "pseudo", "fr"))
    runs.assert_same_run(output, straight)


def test_two_processes_tag_as_one_does(recipe, straight, tmp_path):
    argv = runs.arguments(recipe, tmp_path / "two")
    statuses, log = together(2, tmp_path / "log", runs.train_main, argv, str(tmp_path / "log"))
    assert statuses == [0, 0], log
    assert log.count("tagging 24 sentences of fr") == 1  # the main process alone speaks
    for lang in ("fr", "it"):
        name = f"pseudo/{lang}/train.jsonl"
        assert (tmp_path / "two" / name).read_bytes() == (straight / name).read_bytes()
    ours, theirs = (runs.curves(folder)["train/loss"] for folder in (tmp_path / "two", straight))
    assert len(ours) == len(theirs) and ours[0][1] == pytest.approx(theirs[0][1], rel=0.05)  # dropout differs


def test_files_of_pseudo_labels_train_the_same_model(world, teacher, recipe, straight, tmp_path, capsys):
    argv = ["pseudo", str(teacher), "--langs", "fr", "it", "--confidence", "0.95", "--share", "0.6",
            "--output", str(tmp_path / "data")]
    assert evaluate.main(argv) == 0
    shown = capsys.readouterr().out
    assert f"{tmp_path / 'data'}: fr/train.jsonl, it/train.jsonl" in shown
    for lang in ("fr", "it"):
        name = f"{lang}/train.jsonl"
        assert (tmp_path / "data" / name).read_bytes() == (straight / "pseudo" / name).read_bytes()
    assert evaluate.main(argv) == 2
    assert "data: already exists" in capsys.readouterr().err
    for path in (world / "data").glob("*/*.tsv"):
        if path.stem != "train" or path.parent.name == "de":
            (tmp_path / "data" / path.parent.name).mkdir(exist_ok=True)
            shutil.copy(path, tmp_path / "data" / path.parent.name)
    run(world / "recipe.yaml", tmp_path / "files", "--data_dir", str(tmp_path / "data"), "--train_langs", "de", "fr",
        "it")
    ours, theirs = load_file(tmp_path / "files" / "model" / "model.safetensors"), load_file(
        straight / "model" / "model.safetensors")
    assert all(tensor.equal(theirs[name]) for name, tensor in ours.items()) and ours.keys() == theirs.keys()
    assert read(tmp_path / "files")["eval"] == read(straight)["eval"]


def refusal(capsys, *argv) -> str:
    assert train.main([str(word) for word in argv]) == 2
    error = [line for line in capsys.readouterr().err.split("\n") if line.startswith("train.py: ")]
    assert len(error) == 1
    return error[0].removeprefix("train.py: ")


def test_what_a_teacher_cannot_be(world, teacher, recipe, straight, tmp_path, capsys):
    out = ("--output_dir", tmp_path / "run")
    student = ("--config", recipe, *out)
    assert refusal(capsys, *student, "--teacher", tmp_path / "no") == (
        f"teacher: {tmp_path / 'no'}: no such folder; name a model folder, a model on the Hub or e5-small")
    (tmp_path / "unfinished").mkdir()
    shutil.copy(teacher / "config.yaml", tmp_path / "unfinished")
    assert refusal(capsys, *student, "--teacher", tmp_path / "unfinished") == (
        f"teacher: {tmp_path / 'unfinished'}: this run has not finished; finish it first with --resume")
    assert "names no tags in id2label; expected a fine-tuned token classifier" in refusal(
        capsys, *student, "--teacher", world / "encoder")
    other = lexicon_folder(tmp_path / "other", ("O", "B-PER", "I-PER"), {"Anna": "B-PER"})
    assert refusal(capsys, *student, "--teacher", other) == (
        f"teacher: {other} has the tags O B-PER I-PER; expected those of the run, {' '.join(TAGS)}")
    assert refusal(capsys, *student, "--pseudo_langs", "xx").startswith(f"{world / 'data'}: no language 'xx'")
    assert refusal(capsys, *student, "--num_train_sentences", "25").startswith(
        "num_train_sentences: asked for 25 of 'fr', which has 24")
    assert "so every word would be masked; lower the confidence" in refusal(
        capsys, *student, "--pseudo_confidence", "0.999999")
    (tmp_path / "run" / "pseudo").mkdir(parents=True)
    assert "has a pseudo/ that is not from a run" in refusal(capsys, *student)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["pseudo"]


def test_a_finished_run_is_the_same_only_with_the_same_teacher(recipe, straight, teacher, tmp_path, capsys):
    """Whatever the teacher's folder is called."""
    shutil.copytree(straight, tmp_path / "run")
    argv = ["--config", str(recipe), "--output_dir", str(tmp_path / "run"), "--resume", "--teacher"]
    shutil.copytree(teacher, tmp_path / "moved")
    assert train.main([*argv, str(tmp_path / "moved")]) == 0
    assert "this run is already finished" in capsys.readouterr().out
    path = tmp_path / "moved" / "model" / "model.safetensors"
    state = load_file(path)
    state["classifier.bias"] += 1
    save_file(state, path, {"format": "pt"})
    assert "is finished, but its teacher had other weights than" in refusal(capsys, *argv, tmp_path / "moved")


def test_a_run_with_another_teacher_is_not_continued(recipe, teacher, tmp_path):
    shutil.copytree(teacher, tmp_path / "moved")
    more = ("--teacher", str(tmp_path / "moved"))
    run(recipe, tmp_path / "run", *more, prepare=(doubles.signal_at, 6, signal.SIGKILL), status=-9)
    path = tmp_path / "moved" / "model" / "model.safetensors"
    state = load_file(path)
    state["classifier.bias"][0] -= 1
    save_file(state, path, {"format": "pt"})
    log = run(recipe, tmp_path / "run", *more, "--resume", status=2)
    assert "cannot be continued, these differ: " in log and "checksum of the teacher's weights: '" in log


def test_a_damaged_file_of_labels_stops_the_run(recipe, tmp_path):
    run(recipe, tmp_path / "run", prepare=(doubles.signal_at, 6, signal.SIGKILL), status=-9)
    (tmp_path / "run" / "pseudo" / "fr" / "train.jsonl").write_text("{}\n")
    log = run(recipe, tmp_path / "run", "--resume", status=2)
    assert "pseudo: cannot be read (fr/train.jsonl has changed); remove it to have the sentences tagged again" in log


def test_two_rounds_of_a_study_on_the_built_in_corpus(world, tmp_path):
    """With seeds; repeated by the same command; the report keeps them apart."""
    shared = {"model": str(world / "encoder"), "max_length": 128, "num_train_sentences": 30, "epochs": 1,
              "batch_size": 8, "learning_rate": 1e-2, "eval_langs": ["de", "fr"], "tags": list(TAGS), "seeds": [1, 2]}
    rounds = {"second": {"teacher": "first", "pseudo_langs": ["fr", "it"]},
              "first": {"teacher": "de", "pseudo_langs": ["fr"], "pseudo_share": 0.5}, "de": None}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({**shared, "runs": rounds}, sort_keys=False))
    argv = ["--config", str(tmp_path / "study.yaml"), "--output_dir", str(tmp_path / "out")]
    status, log = runs.run_script(argv, timeout=300)
    assert status == 0, log
    order = [line.split(" of 6: ")[1].split(",")[0] for line in log.split("\n") if line.startswith("run ")]
    assert [Path(one).relative_to(tmp_path / "out").as_posix() for one in order] == [
        "de/seed-1", "first/seed-1", "second/seed-1", "de/seed-2", "first/seed-2", "second/seed-2"]
    found = {name: read(tmp_path / "out" / name) for name in ("first/seed-2", "second/seed-2", "second")}
    assert found["first/seed-2"]["train"]["pseudo"]["teacher"] == str(tmp_path / "out" / "de" / "seed-2")
    assert found["second/seed-2"]["options"]["teacher"] == str(tmp_path / "out" / "first" / "seed-2")
    assert found["second"]["options"]["teacher"] == str(tmp_path / "out" / "first")
    assert list(found["second"]["train"]["pseudo"]["languages"]) == ["fr", "it"]
    assert found["first/seed-2"]["train"]["pseudo"]["languages"]["fr"]["tagged"] == 30
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("seed-*/*")}
    status, log = runs.run_forked(argv, tmp_path / "log")
    assert status == 0 and log.count("is finished\n") == 6, log
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert evaluate.main(["report", str(tmp_path / "out")]) == 0
    report = (tmp_path / "out" / "REPORT.md").read_text(encoding="utf-8")
    assert "| first (with target text) " in report and "\n## With target text\n" in report
    assert "de, text of fr-it" in report and "3 of 3 runs are finished" in report
    weights = tmp_path / "out" / "de" / "seed-1" / "model" / "model.safetensors"
    state = load_file(weights)
    state["classifier.bias"] += 1
    save_file(state, weights, {"format": "pt"})
    status, log = runs.run_forked(argv, tmp_path / "log")
    assert status == 2 and "first/seed-1: is finished, but its teacher had other weights than" in log, log


def test_problems_of_a_teacher_are_found_before_the_first_run(world, teacher, tmp_path, capsys):
    shared = yaml.safe_load((world / "recipe.yaml").read_text())
    other = lexicon_folder(tmp_path / "other", ("O", "B-PER", "I-PER"), {"Anna": "B-PER"})
    for own, message in (({"teacher": str(other)}, f"run b: teacher: {other} has the tags O B-PER I-PER; expected"),
                         ({"teacher": "a", "tags": ["O", "B-PER", "I-PER"]}, "the tag 'B-LOC' of word"),
                         ({"teacher": "a", "pseudo_langs": ["xx"]}, f"{world / 'data'}: no language 'xx'"),
                         ({"teacher": "a", "num_train_sentences": 99}, "run b: num_train_sentences: asked for 99 of"),
                         ({"teacher": str(tmp_path / "no")}, f"run b: teacher: {tmp_path / 'no'}: no such folder")):
        (tmp_path / "r.yaml").write_text(yaml.safe_dump(
            {**shared, "runs": {"a": None, "b": {"pseudo_langs": ["fr"], **own}}}))
        assert message in refusal(capsys, "--config", tmp_path / "r.yaml", "--output_dir", tmp_path / "out")
        assert not (tmp_path / "out").exists()
