# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Multilingual named-entity recognition, step by step
#
# Chapter 4 of *Natural Language Processing with Transformers* (Tunstall, von Werra and Wolf 2022) asks: if we fine-tune
# a multilingual encoder on German sentences, how well does it tag French, Italian and English ones? This notebook walks
# through the chapter with the functions of this project, on the corpus that comes with it and with the first three
# layers of the encoder that comes with a package. It downloads nothing and takes a minute and a half of one CPU core,
# so its scores are those of a small model. The [README](../README.md#results) has those of the whole encoder on PAN-X.
#
# To run it, install `requirements.txt` and Jupyter (`pip install notebook`) and start `jupyter notebook` here.
# It is made from `chapter4.py`, next to it: `python -m notebooks.make`.

# %%
import json
import sys
import tempfile
import warnings
from pathlib import Path

warnings.filterwarnings("ignore", "IProgress not found")  # of tqdm, which would rather draw its bars as widgets
sys.path.insert(0, str(Path.cwd().parent))

from accelerate import Accelerator
from datasets import concatenate_datasets
from matplotlib import pyplot
from tabulate import tabulate

from ner.analysis import errors
from ner.data import alignment, collate, corpora, encoded, sampling
from ner.evaluation import board, per_language, predictions
from ner.experiment import experiment
from ner.model import pretrained
from ner.options import resolve
from ner.training import loop, optim

# %% [markdown]
# ## Sentences in Switzerland's proportions
#
# In Switzerland 62.9 % of the people speak German at home, 22.9 % French, 8.4 % Italian and 5.9 % English. The chapter
# samples each language by its share. The built-in corpus has 10,000 generated training sentences in each of them, and
# hand-written ones for validation and test.

# %%
SHARES = {"de": 0.629, "fr": 0.229, "it": 0.084, "en": 0.059}
options = resolve({"train_langs": list(SHARES), "eval_langs": list(SHARES), "max_length": 128, "epochs": 2,
                   "batch_size": 16, "learning_rate": 4e-4, "freeze": 0, "seed": 1})
corpus, tags = corpora.load(options)
swiss = {lang: sampling.fraction(rows, SHARES[lang], options.sample_seed) for lang, rows in corpus["train"].items()}
print(corpora.count_table({**corpus, "train": swiss}, tags))

# %% [markdown]
# A sentence is a list of words with one tag each. `B-` opens an entity, `I-` continues it, `O` is outside (IOB2).

# %%
sentence = corpus["validation"]["de"][1]
print(tabulate([sentence["tokens"], tags.names_of(sentence["ner_tags"])], tablefmt="plain"))

# %% [markdown]
# ## Words and subwords
#
# The encoder reads subwords of a SentencePiece vocabulary of 250,000, shared by a hundred languages; `▁` is the space
# before a word. To keep this notebook quick, we take three of its twelve layers.

# %%
source = Path(tempfile.mkdtemp())
built_in = pretrained.folder_of("e5-small")
for file in built_in.iterdir():
    (source / file.name).symlink_to(file)
(source / "config.json").unlink()
shape = json.loads((built_in / "config.json").read_text())
(source / "config.json").write_text(json.dumps({**shape, "num_hidden_layers": 3}))
config = pretrained.load_config(source)
tokenizer = pretrained.load_tokenizer(source, config)

pieces = alignment.subwords(set(sentence["tokens"]), tokenizer)
print(tabulate([(word, " ".join(tokenizer.convert_ids_to_tokens(pieces[word]))) for word in sentence["tokens"]],
               ["word", "subwords"], "plain"))

# %% [markdown]
# ## Labels on subwords
#
# A word has one tag and often several subwords. Its first subword gets the label; the others, and the two that enclose
# the sentence, get -100, which the loss leaves out. A sentence that is too long for the encoder is cut into windows
# that overlap, and each word is labelled in one of them, so that no word is lost.

# %%
one = encoded.encode(corpus["validation"]["de"].select([1]), tokenizer, options.max_length)
[[window]] = one.windows
labels = window.labels.tolist()
print(tabulate(zip(tokenizer.convert_ids_to_tokens(window.input_ids.tolist()), window.input_ids, labels,
                   ["" if label == alignment.IGNORED else tags.names[label] for label in labels], strict=True),
               ["subword", "id", "label", "tag"], "plain"))

# %% [markdown]
# ## The model
#
# The encoder gives a vector for each subword; a linear layer (after dropout) turns it into one number per tag. Padding
# is not computed: a batch is packed into one row of real tokens.

# %%
accelerator = Accelerator(mixed_precision="no")
padding = collate.padding_of(tokenizer)
model = experiment.make_model(options, source, config, None, tags)
batch = collate.to_device(collate.collate([window], padding), accelerator.device)
print(model.classifier)
print("ids", tuple(batch["input_ids"].shape), "-> logits",
      tuple(model.to(accelerator.device)(batch["input_ids"], batch["attention_mask"]).shape))

# %% [markdown]
# ## Training on German
#
# One step takes 16 sentences; its loss is the sum over their words divided by the number of words, whatever the batch
# looks like. We take a fifth of the German sentences, and the embeddings stay as they are (`freeze: 0`).


# %%
def fine_tune(rows):
    """A new model after all epochs; prints the mean loss of each."""
    model = experiment.make_model(options, source, config, None, tags)
    optimizer = optim.adamw(model, options.learning_rate, options.weight_decay)
    model, optimizer = accelerator.prepare(model, optimizer)
    training = encoded.in_windows(encoded.encode(rows, tokenizer, options.max_length, training=True))
    losses = [step.loss for step in loop.steps(model, optimizer, training, padding, options, accelerator,
                                               loop.Progress(), lambda: False)]
    per_epoch = sampling.steps_per_epoch(len(rows), options.batch_size)
    for epoch in range(options.epochs):
        part = losses[epoch * per_epoch : (epoch + 1) * per_epoch]
        print(f"epoch {epoch + 1}: {len(part)} steps, mean loss {sum(part) / len(part):.2f} nats per word")
    return model


fifth = {lang: sampling.fraction(rows, 0.2, options.sample_seed) for lang, rows in swiss.items()}
german = fine_tune(fifth["de"])

# %% [markdown]
# ## Scores
#
# An entity counts as found if its words and its type are right. F1 is the harmonic mean of precision and recall over
# all entities; the interval is a bootstrap over sentences, and with 40 of them it is wide. Predicted are the most
# probable tags of a sentence that are legal (no `I-PER` after `O`); argmax F1 takes each word's most probable tag.

# %%
validation, test = ({lang: encoded.encode(rows, tokenizer, options.max_length) for lang, rows in corpus[split].items()}
                    for split in ("validation", "test"))
scored = per_language.evaluate(german, {"de": validation["de"]}, tags, padding, accelerator)
print(per_language.f1_table(scored))

# %% [markdown]
# ## Errors
#
# Which subwords and which tags cost most? The loss of a word counts under its first subword.

# %%
analysis = errors.analyse(validation["de"], scored["de"].predictions, tags, tokenizer)
print(errors.columns(("subword", "count", "mean loss", "sum"), analysis.subwords[:10]), "\n")
print(errors.columns(("tag", "count", "mean loss", "sum"), analysis.tags))

# %% [markdown]
# What is mistaken for what: rows are gold tags, columns predicted ones.

# %%
picture = board.confusion_image(analysis.confusion, tags.names, "German, validation")
figure = pyplot.figure(figsize=(picture.shape[1] / 140, picture.shape[0] / 140))
axes = figure.add_axes((0, 0, 1, 1))
axes.imshow(picture)
axes.axis("off")
pyplot.show()

# %% [markdown]
# The sentences with the highest loss, word by word. In the chapter, such sentences show that the annotation of PAN-X
# has errors, too. `python evaluate.py errors RUN` makes a page of them with filters.

# %%
for found in analysis.sentences[:2]:
    print(tabulate(zip(found.words, found.gold, found.predicted, (f"{loss:.2f}" for loss in found.loss), strict=True),
                   ["word", "gold", "predicted", "loss"], "plain", disable_numparse=True), "\n")

# %% [markdown]
# ## Zero-shot transfer
#
# The model has seen no labelled French, Italian or English sentence.

# %%
zero_shot = per_language.evaluate(german, test, tags, padding, accelerator)
print(per_language.f1_table(zero_shot))

# %%
tagged = predictions.sentences(test["it"], zero_shot["it"].predictions, tags)[1]
print(tabulate([tagged.words, tagged.gold, tagged.predicted], tablefmt="plain"))

# %% [markdown]
# ## Training on all four
#
# Does it help to add the other languages, in their proportions? 37 % of these sentences are not German, and only 6 %
# are English.

# %%
everything = concatenate_datasets(list(fifth.values())).shuffle(seed=sampling.SUBSET_SEED)
multilingual = fine_tune(everything)
together = per_language.evaluate(multilingual, test, tags, padding, accelerator)
print()
print(tabulate([(lang, len(fifth[lang]), f"{100 * zero_shot[lang].metrics['f1']:.1f}",
                 f"{100 * together[lang].metrics['f1']:.1f}") for lang in SHARES],
               ["language", "sentences", "F1 trained on German", "F1 trained on all"], "plain", disable_numparse=True,
               colalign=["left", "right", "right", "right"]))

# %% [markdown]
# With the whole encoder on PAN-X, the [report](../configs/results/chapter4/REPORT.md) has the chapter's table with
# intervals and tests, and the number of French sentences from which labelled data beats transfer. There, all of the
# above is one command: `python train.py --config configs/chapter4.yaml --data_dir PANX`.
