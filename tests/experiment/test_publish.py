"""The model card parses back to its metrics and shows no path; the upload, against a small local Hub."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard import metadata_load
from hypothesis import given, settings
from hypothesis import strategies as st

from ner.data.swiss import generate
from ner.experiment.card import bibtex, model_card
from ner.experiment.publish import check_repository_name
from ner.options import Options, UserError, as_recipe
from tests.helpers.paths import ROOT

REPOSITORY = "anna/tagger-de"
MACHINE = {"device": "NVIDIA H100 80GB HBM3", "device_type": "cuda", "mixed_precision": "bf16", "processes": 4,
           "cuda": "13.0", "cudnn": 91501}
UPLOAD = """
import sys, time
from pathlib import Path
from ner.options import UserError
from ner.experiment.publish import push
time.sleep = lambda seconds: None  # the client waits between attempts
try:
    print(push(Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "public"))
except UserError as error:
    sys.exit(f"one sentence: {error}")
"""


def score(f1: float, **more) -> dict:
    by_type = {kind: {"f1": f1, "precision": f1, "recall": f1, "support": 7} for kind in ("PER", "ORG", "LOC")}
    figures = {"f1": f1, "precision": 0.75, "recall": 0.875, "f1_strict": 0.5, "sentences": 6290, "by_type": by_type}
    return {**figures, **more}


def made(scores: dict[str, dict], name: str = "panx-de", **options) -> dict:
    """The contents of a results.json."""
    mean = sum(item["f1"] for item in scores.values()) / len(scores)
    epochs = [{"epoch": i, "train_loss": 1 / i, "mean_f1": mean / (3 - i),
               "validation": {"de": {"loss": 0.5 / i}, "fr": {"loss": 0.7 / i}}} for i in (1, 2)]
    train = {"langs": ["de"], "sentences": 12580, "steps": 1180, "seconds": 1107.0, "sentences_per_second": 68.2,
             "tokens_per_second": 1408.4, "peak_memory_mib": 2036.4, "selected_epoch": 2, "epochs": epochs}
    return {"name": name, "options": as_recipe(Options(**options)), "train": train,
            "versions": {"python": "3.11.2", "torch": "2.13.0", "transformers": "5.23.0", "git": ""},
            "machine": MACHINE, "eval": {"test": {**scores, "mean_f1": mean}}}


TWO = {"de": score(0.8312345678901234, f1_ci95=[0.823, 0.839]), "fr": score(1 / 3)}


def row(card: str, first: str) -> list[str]:
    line = next(line for line in card.split("\n") if line.startswith(f"| {first} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_metadata_parse_back(tmp_path):
    card = model_card(made(TWO, dataset="panx", revision="abc123"))
    (tmp_path / "README.md").write_text(card, encoding="utf-8")
    meta = metadata_load(tmp_path / "README.md")
    assert meta == ModelCard(card).data.to_dict()
    assert {key: value for key, value in meta.items() if key != "model-index"} == {
        "language": ["de", "fr"], "library_name": "transformers", "pipeline_tag": "token-classification",
        "metrics": ["f1"], "tags": ["named-entity-recognition", "ner"], "datasets": ["google/xtreme"],
        "base_model": "intfloat/multilingual-e5-small",
        "widget": [{"text": "In Sörenberg liegt noch immer mehr als ein Meter Schnee .", "example_title": "de"},
                   {"text": "Mathilde Corthésy enseigne le violoncelle au Conservatoire de musique de Delémont depuis "
                            "2016 .", "example_title": "fr"}]}
    (index,) = meta["model-index"]
    assert index["name"] == "panx-de"
    assert index["results"][0] == {
        "task": {"type": "token-classification", "name": "Named-entity recognition"},
        "dataset": {"name": "PAN-X (de)", "type": "google/xtreme", "config": "PAN-X.de", "split": "test",
                    "revision": "abc123"},
        "metrics": [{"type": "f1", "value": 0.8312345678901234, "name": "micro F1 (seqeval, default mode)"}]}
    assert [result["metrics"][0]["value"] for result in index["results"]] == [0.8312345678901234, 1 / 3]


def test_the_card_says_where_and_how_the_model_was_trained():
    """The precision is the one in use, not the option's `auto`."""
    card = model_card(made(TWO))
    assert ("\n1,180 steps in 18.4 minutes of training (68 sentences and 1,408 subwords per second, at most 2,036 MiB "
            "of memory) on NVIDIA H100 80GB HBM3 (cuda), mixed_precision bf16, 4 processes.\n\nEnergy and emissions "
            "were not measured") in card
    assert "co2_eq_emissions" not in card
    assert "\nVersions: python 3.11.2, torch 2.13.0, transformers 5.23.0, cuda 13.0, cudnn 91501\n" in card
    cpu = {"device": "AMD EPYC", "device_type": "cpu", "mixed_precision": "no", "processes": 1}
    card = model_card({**made(TWO), "machine": cpu})
    assert " on AMD EPYC (cpu), mixed_precision no, 1 process.\n" in card and "cud" not in card


def test_the_epochs():
    card = model_card(made(TWO))
    assert row(card, "epoch") == ["epoch", "training loss", "validation loss", "mean validation F1"]
    assert row(card, "1 ") == ["1", "1.0000", "0.6000", "0.291"]
    assert row(card, "2 (selected)") == ["2 (selected)", "0.5000", "0.3000", "0.582"]


def test_labels_have_examples_of_the_built_in_corpus_alone():
    card = model_card(made(TWO))
    assert row(card, "PER") == ["PER", "14", "Vreni Schläppi, Sepp Oberhofer, Granit Berisha, Mathilde Corthésy, "
                                             "Régis Aubort, Momo"]
    named = {name for split in ("validation", "test") for lang in generate.LANGS
             for words, _ in generate.sentences(lang, split) for name in words if name.istitle()}
    for options in ({"dataset": "panx"}, {"data_dir": "/data/panx"}, {"dataset": "anna/letters"}):
        card = model_card(made({"ru": score(0.5)}, **options))
        assert row(card, "LOC") == ["LOC", "7"] and "widget" not in card
        labels = card[card.index("## Labels") : card.index("## Training data")]
        assert not named & set(labels.split())
    odd = score(0.5, by_type={"A|<b>": {"support": 1234}})
    assert row(model_card(made({"de": odd}, data_dir="x")), "A&#124;&lt;b&gt;") == ["A&#124;&lt;b&gt;", "1,234"]


def test_the_card_cites_the_code():
    card = model_card(made(TWO))
    assert ("```bibtex\n@software{multilingual-ner-in-plain-pytorch,\n  title = {Multilingual NER in plain PyTorch},\n"
            "  author = {{The authors of this repository}},\n}\n```\n") in card
    full = ("title: A b\nauthors: [{family-names: Muster, given-names: Anna}, {name: Team}]\nversion: 1.2\n"
            "date-released: 2026-01-02\nrepository-code: https://example.org/x\n")
    assert bibtex(full) == ("@software{a-b,\n  title = {A b},\n  author = {Muster, Anna and {Team}},\n"
                            "  version = {1.2},\n  date = {2026-01-02},\n  url = {https://example.org/x},\n}")


def test_table():
    card = model_card(made(TWO))
    assert row(card, "language") == ["language", "F1", "95 % interval", "precision", "recall", "strict F1", "sentences"]
    assert row(card, "de") == ["de", "0.831", "0.823 to 0.839", "0.750", "0.875", "0.500", "6,290"]
    assert row(card, "fr (zero-shot)") == ["fr (zero-shot)", "0.333", "", "0.750", "0.875", "0.500", "6,290"]
    assert row(card, "mean") == ["mean", "0.582", "", "", "", "", ""]
    without = model_card(made({"de": score(1.0)}))
    assert row(without, "language") == ["language", "F1", "precision", "recall", "strict F1", "sentences"]
    assert row(without, "de") == ["de", "1.000", "0.750", "0.875", "0.500", "6,290"]


@settings(max_examples=50, deadline=None)
@given(name=st.text(st.characters(exclude_categories=["Cs"])), f1=st.floats(0, 1), langs=st.lists(
    st.sampled_from(["no", "on", "y", "zh-classical", "be-x-old", "null", "1", "~"]), min_size=1, unique=True))
def test_odd_names_and_values_parse_back(name, f1, langs):
    data = ModelCard(model_card(made({lang: score(f1) for lang in langs}, name))).data
    assert [(result.dataset_config, result.metric_value) for result in data.eval_results] == [(x, f1) for x in langs]
    assert data.language == ["de", *(lang for lang in langs if lang in ("no", "on"))]  # ISO 639 codes only


@pytest.mark.parametrize("home", ["/home/s3cret", r"C:\Users\s3cret", "../s3cret", "~/x/s3cret", "s3cret"])
def test_no_path_leaks(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    home += "\\" if "\\" in home else "/"
    if home == "s3cret/":  # a folder that is there; else it would be the Hub's user/name
        (tmp_path / home / "corpus").mkdir(parents=True)
        (tmp_path / home / "encoder").mkdir()
    for options in ({"data_dir": f"{home}corpus/"}, {"dataset": f"{home}corpus"}):
        card = model_card(made(TWO, f"{home}run", model=f"{home}encoder", exclude=f"{home}suspects.tsv", **options))
        assert "s3cret" not in card
        assert "`corpus`" in card and "`encoder`" in card and "# run\n" in card
        data = ModelCard(card).data
        assert data.base_model is data.datasets is None and data.eval_results[0].dataset_type == "corpus"


@pytest.mark.parametrize("path", ["..", ".", "/", "C:\\", "a/..", " "])
def test_a_path_without_a_name(path):
    assert ModelCard(model_card(made(TWO, data_dir=path))).data.eval_results[0].dataset_name == "local (de)"


def test_training_recipe_and_limits():
    card = model_card(made(TWO, dataset="panx", fractions={"de": 0.629, "fr": 0.229}, learning_rate=3e-5, dropout=0.1))
    assert "12,580 sentences (de) of [PAN-X](https://huggingface.co/datasets/google/xtreme)" in card
    assert "de 62.9%, fr 22.9%" in card
    assert "learning_rate: 3.0e-05\n" in card and "dropout: 0.1\n" in card and "max_steps" not in card
    assert "python 3.11.2, torch 2.13.0, transformers 5.23.0, " in card
    assert "only finds entities of the types PER, ORG, LOC" in card
    silver, generated = "silver standard", "generated from patterns"
    assert silver in card and generated not in card
    for options, expected in (({}, [generated]), ({"data_dir": "/data/PANX"}, [silver]),
                              ({"data_dir": "/data/letters", "dataset": "panx"}, [])):  # data_dir overrides dataset
        assert [text for text in (silver, generated) if text in model_card(made(TWO, **options))] == expected


def test_unlabelled_text_is_named_and_nothing_is_called_zero_shot():
    results = made({**TWO, "it": score(0.25)}, teacher="/home/s3cret/runs/one", pseudo_langs=["fr"], pseudo_share=0.5)
    amounts = {"tagged": 2000, "sentences": 1200, "words": 10_000, "masked": 1234, "entities": {"PER": 5}}
    results["train"]["pseudo"] = {"teacher": "/home/s3cret/runs/one", "teacher_weights": "ab",
                                  "languages": {"fr": amounts}}
    card = model_card(results)
    assert ("12,580 sentences (de, fr) of `built-in-swiss`.\n\nUnlabelled text of fr was used as well, so the model is "
            "not zero-shot there: another model, `one`, tagged these training sentences, and its tags were learned "
            "instead of their own (fr 1,200 of 2,000 sentences with 10,000 words, 12.3% of them masked).\n") in card
    assert "zero-shot)" not in card and "s3cret" not in card and "pseudo_share: 0.5\n" in card
    assert [row(card, name)[1] for name in ("de", "fr (with target text)", "it")] == ["0.831", "0.333", "0.250"]
    assert "(zero-shot)" in model_card(made(TWO)) and "Unlabelled" not in model_card(made(TWO))


def test_a_data_set_and_a_model_of_the_hub():
    card = model_card(made(TWO, dataset="anna/letters", model="xlm-roberta-base", push_to_hub=REPOSITORY))
    data = ModelCard(card).data
    assert data.base_model == "xlm-roberta-base" and data.datasets == ["anna/letters"]
    assert data.eval_results[1].dataset_type == "anna/letters" and data.eval_results[1].dataset_config == "fr"
    assert f'model="{REPOSITORY}", aggregation_strategy="simple"' in card


@pytest.mark.parametrize("name", [
    "tagger", "", "/", "anna/", "/tagger", "anna/a/b", "anna/-a", "anna/a--b", "anna/a..b", "anna/a.git", "anna/ä",
    "anna/a b", "anna/a\n", f"anna/{'a' * 97}", f"https://huggingface.co/{REPOSITORY}"])
def test_bad_repository_names(name):
    with pytest.raises(UserError, match=r"^push_to_hub: '.*' is not a repository; expected user/name"):
        check_repository_name(name)


@pytest.mark.parametrize("name", [REPOSITORY, "A_1/b.c-d_e", "a/b"])
def test_good_repository_names(name):
    check_repository_name(name)


class Hub(ThreadingHTTPServer):
    """As much of the Hub as an upload calls; keeps what arrives. `fails`: (part of a path, status answered there)."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.fails: tuple[str, int] | None = None
        self.private: bool | None = None  # of the repository, once it is there
        self.tokens: list[str | None] = []  # one a call
        self.large: dict[str, bytes] = {}  # sha256 -> content
        self.files: dict[str, bytes] = {}  # of the commit

    def answer(self, path: str, body: bytes) -> tuple[int, dict]:
        if self.fails and self.fails[0] in path:
            return self.fails[1], {"error": "Sorry,\nnot today."}
        if path == "/api/repos/create":
            asked = json.loads(body)
            assert (asked["organization"], asked["name"]) == tuple(REPOSITORY.split("/"))
            status = 200 if self.private is None else 409
            self.private = asked["visibility"] == "private" if self.private is None else self.private
            return status, {"url": f"{self.url}/{REPOSITORY}"}
        if path == f"/api/models/{REPOSITORY}":
            return 200, {"id": REPOSITORY, "private": self.private}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if path == f"/api/models/{REPOSITORY}/preupload/main":
            return 200, {"files": [{"path": file["path"], "shouldIgnore": False,
                                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular"}
                                   for file in json.loads(body)["files"]]}
        if path == f"/{REPOSITORY}.git/info/lfs/objects/batch":
            return 200, {"objects": [{**wanted, "actions": {"upload": {"href": f"{self.url}/large/{wanted['oid']}"}}}
                                     for wanted in json.loads(body)["objects"]]}
        if path.startswith("/large/"):
            self.large[hashlib.sha256(body).hexdigest()] = body
            return 200, {}
        if path == f"/api/models/{REPOSITORY}/commit/main":
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                if line["key"] == "lfsFile":
                    self.files[line["value"]["path"]] = self.large[line["value"]["oid"]]
            return 200, {"commitUrl": f"{self.url}/{REPOSITORY}/commit/1", "commitOid": "1"}
        return 404, {"error": f"no {path}"}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.tokens.append(self.headers["Authorization"])
        status, reply = self.server.answer(self.path, self.rfile.read(int(self.headers["Content-Length"] or 0)))
        content = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST

    def log_message(self, format, *args):
        pass


@pytest.fixture
def hub():
    server = Hub()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def model(tmp_path) -> Path:
    folder = tmp_path / "my run" / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "xlm-roberta"}\n', encoding="utf-8")
    (folder / "README.md").write_text(model_card(made(TWO)), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 40)
    return folder


def upload(folder: Path, url: str, visibility: str, token: str = "hf_test") -> subprocess.CompletedProcess:
    """In a new process, because the client reads HF_ENDPOINT when it is imported."""
    mine = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    hub = {"HF_ENDPOINT": url, "HF_HOME": str(folder.parent / "home"), "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1",
           "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "127.0.0.1", "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", UPLOAD, str(folder), REPOSITORY, visibility], env={**mine, **hub},
                          capture_output=True, text=True, timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize("visibility, private", [("", True), ("public", False)])
def test_upload(hub, model, visibility, private):
    done = upload(model, hub.url, visibility)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{hub.url}/{REPOSITORY}\n"
    assert hub.private is private
    assert hub.files == {path.name: path.read_bytes() for path in model.iterdir()} and len(hub.files) == 3
    assert list(hub.large.values()) == [bytes(range(256)) * 40]
    assert "Bearer hf_test" in hub.tokens


def failure(done: subprocess.CompletedProcess) -> str:
    """The one sentence, which is the last line; no traceback before it."""
    assert done.returncode == 1 and done.stdout == "" and "Traceback" not in done.stderr, done.stderr
    last = done.stderr.rstrip("\n").split("\n")[-1]
    assert last.startswith("one sentence: push_to_hub: ")
    return last


@pytest.mark.slow
@pytest.mark.parametrize("path, status, expected", [
    ("", 401, "401 Sorry, not today. log in with 'hf auth login' and a token with write access"),
    ("", 403, "403 Sorry, not today. log in with 'hf auth login' and a token with write access"),
    ("/repos/create", 500, "500 Sorry, not today."),
    ("/preupload", 500, "500 Sorry, not today."),
    ("/large", 500, "500 Sorry, not today."),
    ("/commit", 500, "500 Sorry, not today."),
])
def test_a_hub_that_refuses(hub, model, path, status, expected):
    hub.fails = (path, status)
    said = failure(upload(model, hub.url, ""))
    assert f"{REPOSITORY} was not uploaded (the Hub answered {expected}); " in said
    assert said.endswith(f"the model is safe in {model}, try again with: hf upload {REPOSITORY} '{model}' . --private")
    assert hub.files == {}


@pytest.mark.slow
def test_without_a_network(hub, model):
    hub.shutdown()
    hub.server_close()
    said = failure(upload(model, hub.url, "public"))
    assert "ConnectError" in said and said.endswith(f"hf upload {REPOSITORY} '{model}' .")


@pytest.mark.slow
def test_without_a_token(hub, model):
    assert "(no token found: log in with 'hf auth login' or" in failure(upload(model, hub.url, "", token=""))
    assert hub.tokens == []


@pytest.mark.slow
@pytest.mark.parametrize("private, visibility, mend", [(False, "", "with"), (True, "public", "without")])
def test_a_repository_that_was_there_with_another_visibility(hub, model, private, visibility, mend):
    hub.private = private
    assert failure(upload(model, hub.url, visibility)).endswith(f"try again with another name or {mend} --public")
    assert hub.files == {}


@pytest.mark.slow
def test_a_repository_that_was_there(hub, model):
    hub.private = True
    assert upload(model, hub.url, "").stdout == f"{hub.url}/{REPOSITORY}\n" and len(hub.files) == 3


def test_a_card_says_whether_the_weights_are_a_mean():
    results = made(TWO)
    assert "snapshots of the run" not in model_card(results)
    for kept, count in ((True, 1), (False, 0)):
        results["train"]["average"] = {"updates": [3, 5, 8], "kept": kept}
        assert model_card(results).count("The weights are the mean of 3 snapshots of the run.") == count
