"""The `Tagger` on the engines that people run, each with two workers: what one call finds."""

import json
import pickle
import shutil

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file

from ner.inference import tagger as module
from ner.inference.tagger import Tagger, with_entities
from tests.helpers.folders import lexicon_folder
from tests.inference.test_corpus import random_texts


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(lexicon_folder(tmp_path_factory.mktemp("known") / "model"))



def test_a_process_loads_its_model_once(tmp_path, monkeypatch):
    """Whatever copies an engine sends it, and again once other weights are in the folder."""
    folder = lexicon_folder(tmp_path / "model")
    loads, load = [], module.load
    monkeypatch.setattr(module, "load", lambda *arguments: loads.append(arguments) or load(*arguments))
    tagger = Tagger(str(folder))
    state = pickle.dumps(tagger)
    for _ in range(3):
        assert pickle.loads(state)({"text": ["Bern"]})["entities"][0][0]["type"] == "LOC"
    assert len(loads) == 1
    weights = load_file(folder / "model.safetensors")
    save_file({name: -tensor for name, tensor in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    other = Tagger(str(folder))
    assert pickle.dumps(other) != state, "datasets would take the entities of the former weights from its cache"
    assert pickle.loads(pickle.dumps(other))({"text": ["Bern"]})["error"] == [None] and len(loads) == 2
    assert pickle.dumps(tagger) == state and "trained" not in pickle.loads(state).__dict__


def test_datasets_map_where_the_first_batch_has_neither_entity_nor_error(model):
    rows = Dataset.from_dict({"text": ["und", "", None, "Bern"]})
    found = rows.map(Tagger(model), batched=True, batch_size=2, features=with_entities(rows.features))
    assert [one and [entity["text"] for entity in one] for one in found["entities"]] == [[], [], None, ["Bern"]]
    assert found["error"] == [None, None, "no text: found null; expected a string or a list of strings", None]


@pytest.mark.slow
def test_datasets_map_with_two_processes(model):
    texts = random_texts(40)
    tagger = Tagger(model)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)  # once there are threads, a forked process waits for them, unless it uses one
    torch.ones(600, 600) @ torch.ones(600, 600)
    alone = tagger({"text": texts})
    rows = Dataset.from_dict({"id": list(range(40)), "text": texts}).map(tagger, batched=True, batch_size=9, num_proc=2)
    torch.set_num_threads(threads)
    assert rows["id"] == list(range(40)) and rows["text"] == texts and rows["error"] == [None] * 40
    assert list(rows["entities"]) == alone["entities"]
    assert any(alone["entities"])


def start_ray(attempts=3):
    """On a busy machine, its start may take longer than the half minute that Ray grants itself: then once more."""
    import ray

    for left in reversed(range(attempts)):
        try:
            return ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
                            object_store_memory=2**27)
        except Exception as error:
            ray.shutdown()
            if not left or "timed out" not in str(error):
                raise


@pytest.mark.slow
def test_ray_data_with_two_workers(model):
    import ray

    texts = random_texts(40)
    tagger = Tagger(model)
    alone = tagger({"text": texts})
    start_ray()
    try:
        rows = ray.data.from_items([{"id": i, "text": text} for i, text in enumerate(texts)])
        found = rows.map_batches(tagger, batch_size=9, batch_format="pandas").take_all()
    finally:
        ray.shutdown()
    found.sort(key=lambda row: row["id"])  # engines promise no order
    assert [row["text"] for row in found] == texts and [row["error"] for row in found] == [None] * 40
    assert [list(row["entities"]) for row in found] == alone["entities"]


@pytest.mark.slow
def test_spark_with_two_workers(model):
    pytest.importorskip("pyspark", reason="needs pyspark and Java (see docs/scale.md)")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    from pyspark.sql import SparkSession
    texts, tagger = random_texts(40), Tagger(model)
    alone = tagger({"text": texts})

    def frames(parts):
        for frame in parts:
            found = tagger(dict(frame))
            yield frame.assign(entities=[json.dumps(one) for one in found["entities"]], error=found["error"])

    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", False).getOrCreate()
    try:
        rows = spark.createDataFrame(list(enumerate(texts)), "id int, text string").repartition(2)
        found = rows.mapInPandas(frames, "id int, text string, entities string, error string").collect()
    finally:
        spark.stop()
    found = sorted(found, key=lambda row: row.id)
    assert [row.text for row in found] == texts and [row.error for row in found] == [None] * 40
    assert [json.loads(row.entities) for row in found] == alone["entities"]
