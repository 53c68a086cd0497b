"""Invented results of a study of nine runs."""

import numpy as np

from ner.options import as_recipe, resolve

LANGS = ["de", "fr", "it", "en"]
SIZES = {"de": 6290, "fr": 2290, "it": 840, "en": 590}
SHARED = {"data_dir": "nowhere/panx", "learning_rate": 2e-4,
          "fractions": {"de": 0.629, "fr": 0.229, "it": 0.084, "en": 0.059}}
STUDY = {
    "de": ({"train_langs": ["de"]}, 12580, [0.859, 0.70, 0.69, 0.60]),
    "fr": ({"train_langs": ["fr"], "validation_langs": ["fr"]}, 4580, [0.70, 0.83, 0.71, 0.60]),
    "it": ({"train_langs": ["it"], "validation_langs": ["it"]}, 1680, [0.6, 0.66, 0.80, 0.5]),
    "en": ({"train_langs": ["en"], "validation_langs": ["en"]}, 1180, [0.5, 0.55, 0.5, 0.62]),
    "de-fr": ({"train_langs": ["de", "fr"]}, 17160, [0.86, 0.85, 0.79, 0.69]),
    "all": ({"train_langs": LANGS}, 20020, [0.859, 0.864, 0.868, 0.756]),
    "fr-250": ({"train_langs": ["fr"], "num_train_sentences": 250}, 250, [0.05, 0.10, 0.05, 0.05]),
    "fr-1000": ({"train_langs": ["fr"], "num_train_sentences": 1000}, 1000, [0.5, 0.60, 0.5, 0.4]),
    "fr-2000": ({"train_langs": ["fr"], "num_train_sentences": 2000}, 2000, [0.6, 0.76, 0.6, 0.5]),
}


def scores(f1: float, sentences: int) -> dict:
    """The metrics of one language."""
    half = 1 / np.sqrt(sentences)
    return {"f1": f1, "precision": f1, "recall": f1, "f1_strict": f1, "loss": 1 - f1,
            "sentences": sentences, "words": 9 * sentences, "entities": sentences,
            "f1_ci95": [max(0, f1 - half), f1 + half], "f1_unseen": max(0, f1 - 0.02),
            "unseen_sentences": sentences - 50, "ece": 0.02,
            "calibration": [[0.4, 0.3, 50], [0.7, 0.6, 100], [0.99, 0.98, 9 * sentences - 150]],
            "by_type": {"PER": {"f1": f1, "precision": f1, "recall": f1, "support": sentences}}}


def fake_results(name: str) -> dict:
    """results.json of a run of `STUDY`."""
    own, sentences, f1 = STUDY[name]
    options = as_recipe(resolve({**SHARED, **own}))
    langs = options["validation_langs"] or LANGS
    epochs = [{"epoch": e, "train_loss": 0.6 / e,
               "validation": {lang: scores(max(0, f1[LANGS.index(lang)] - 0.1 / e), SIZES[lang]) for lang in langs},
               "mean_f1": 0.5} for e in (1, 2, 3)]
    return {"name": name, "options": options, "versions": {"python": "3.11", "git": "abc"},
            "train": {"langs": own["train_langs"], "sentences": sentences, "tokens_per_epoch": 20 * sentences,
                      "steps": 99, "processes": 1, "seconds": 600.0, "sentences_per_second": 62.9,
                      "tokens_per_second": 1258.0,
                      "peak_memory_mib": 1800.0, "selected_epoch": 3, "epochs": epochs},
            "eval": {"test": {**{lang: scores(value, SIZES[lang]) for lang, value in zip(LANGS, f1)}, "mean_f1": 0.5}}}
