"""Teachers in a study: which run is meant, in what order runs come, and what cannot be."""

import pytest

from ner.experiment.plan import plan
from ner.options import UserError

PSEUDO = {"pseudo_langs": ["fr"]}


def teachers(runs: dict, **shared) -> list[tuple[str, str | None]]:
    return [(one.name, one.teacher) for one in plan({"runs": runs, **shared})]


def complaint(runs: dict, **shared) -> str:
    with pytest.raises(UserError) as error:
        plan({"runs": runs, **shared}, "r.yaml")
    return str(error.value)


def test_every_run_comes_after_its_teacher_and_otherwise_in_the_order_of_the_recipe():
    runs = {"two": {"teacher": "one", **PSEUDO}, "other": None, "one": {"teacher": "de", **PSEUDO}, "de": None,
            "last": None}
    assert teachers(runs) == [("other", None), ("de", None), ("one", "de"), ("two", "one"), ("last", None)]
    assert teachers(dict(reversed(runs.items()))) == [("last", None), ("de", None), ("one", "de"), ("other", None),
                                                      ("two", "one")]


def test_a_teacher_with_several_seeds_is_the_run_with_the_same_seed():
    runs = {"one": {"teacher": "de", **PSEUDO}, "de": None}
    assert teachers(runs, seeds=[1, 2]) == [("de/seed-1", None), ("one/seed-1", "de/seed-1"), ("de/seed-2", None),
                                            ("one/seed-2", "de/seed-2")]
    assert teachers({"de": {"seeds": [1, 2]}, "one": {"teacher": "de", "seed": 2, **PSEUDO}})[-1] == (
        "one", "de/seed-2")
    assert teachers({"de": {"seeds": [1, 2]}, "one": {"teacher": "de/seed-1", "seed": 7, **PSEUDO}})[-1] == (
        "one", "de/seed-1")
    assert teachers({"de": {"seed": 5}, "one": {"teacher": "de", "seeds": [1, 2], **PSEUDO}})[1:] == [
        ("one/seed-1", "de"), ("one/seed-2", "de")]
    assert complaint({"de": {"seeds": [1, 2]}, "one": {"teacher": "de", "seed": 7, **PSEUDO}}) == (
        "r.yaml: run one: teacher: de has the seeds 1, 2; expected 7 among them")


def test_teachers_from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    for name in ("model", str(tmp_path / "model"), "somebody/a-model", "somewhere/else/de"):
        assert teachers({"de": None, "one": {"teacher": name, **PSEUDO}}) == [("de", None), ("one", None)]
        assert plan({"teacher": name, "seeds": [1, 2], **PSEUDO})[0].options.teacher == name
    (tmp_path / "de").mkdir()
    assert teachers({"de": None, "one": {"teacher": "de", **PSEUDO}})[1] == ("one", "de")  # the study's comes first


@pytest.mark.parametrize("runs, message", [
    ({"one": {"teacher": "dee", **PSEUDO}, "de": None},
     "run one: teacher: expected a run of the study or a folder, found 'dee'; did you mean 'de'?"),
    ({"one": {"teacher": "de/seed-1", **PSEUDO}, "de": None},
     "run one: teacher: expected a run of the study or a folder, found 'de/seed-1'"),
    ({name: {"teacher": other, **PSEUDO} for name, other in [("one", "two"), ("two", "three"), ("three", "two")]},
     "teacher: expected runs without a circle of teachers, found two <- three <- two"),
    ({"one": {"teacher": "one", **PSEUDO}}, "teacher: expected runs without a circle of teachers, found one <- one"),
    ({"one": {"teacher": "de"}, "two": {"teacher": "de", **PSEUDO}, "de": {"epochs": 0}},
     "run one: teacher: needs pseudo_langs, the languages that it tags\n"
     "r.yaml: run de: epochs: expected at least 1, found 0"),
])
def test_what_cannot_be(runs, message):
    assert complaint(runs) == f"r.yaml: {message}"
