"""Model folders: tiny ones of each family as transformers saves them, and one whose answers are known."""

import json
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    BertConfig,
    BertForTokenClassification,
    BertTokenizer,
    CamembertConfig,
    CamembertForTokenClassification,
    CamembertTokenizer,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForTokenClassification,
    RobertaTokenizer,
    XLMRobertaConfig,
    XLMRobertaForTokenClassification,
)

from ner.model import builtin, pretrained

TAGS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
WORDS = ["Anna", "Keller", "wohnt", "in", "Bern", "und", "arbeitet", "bei", "der", "Post", "Genf", "nach", "fährt", "."]
LEXICON = {"Anna": "B-PER", "Keller": "I-PER", "Post": "B-ORG", "Bern": "B-LOC", "Genf": "B-LOC"}
CONFIGS = {"xlm-roberta": XLMRobertaConfig, "roberta": RobertaConfig, "camembert": CamembertConfig,
           "bert": BertConfig}
MODELS = {
    "xlm-roberta": XLMRobertaForTokenClassification,
    "roberta": RobertaForTokenClassification,
    "camembert": CamembertForTokenClassification,
    "bert": BertForTokenClassification,
}
OF_BERT = {"max_position_embeddings": 64, "type_vocab_size": 2, "pad_token_id": 0}


def pieces(words: list[str]) -> list[tuple[str, float]]:
    """A unigram vocabulary: special tokens, the words whole, then single characters."""
    characters = sorted({c for word in words for c in word} | set("abcdefghijklmnopqrstuvwxyz▁"))
    whole = [f"▁{word}" for word in words]
    return [(piece, score) for part, score in ((SPECIAL, 0.0), (whole, -1.0), (characters, -9.0)) for piece in part]


def wordpieces(words: list[str]) -> list[str]:
    """A WordPiece vocabulary: special tokens, the words whole, then characters that begin and that continue a word."""
    characters = sorted({c for word in words for c in word} | set("abcdefghijklmnopqrstuvwxyz"))
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return list(dict.fromkeys([*special, *words, *characters, *(f"##{character}" for character in characters)]))


def tokenizer_of(family: str, words: list[str] = WORDS):
    """One as that family has it."""
    if family == "roberta":
        bpe = ByteLevelBPETokenizer()
        bpe.train_from_iterator([" ".join(words)] * 3, 400, 2, special_tokens=[*SPECIAL, "<mask>"])
        merges = [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]
        return RobertaTokenizer(vocab=bpe.get_vocab(), merges=merges)
    if family == "bert":
        return BertTokenizer(vocab={piece: i for i, piece in enumerate(wordpieces(words))}, do_lower_case=False)
    vocabulary = [*pieces(words), ("<mask>", 0.0)]
    if family == "camembert":
        return CamembertTokenizer(vocab=vocabulary)
    roles = ("bos", "pad", "eos", "unk")
    special = {f"{role}_token": token for role, token in zip(roles, SPECIAL)}
    special |= {"cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}
    return PreTrainedTokenizerFast(tokenizer_object=builtin._tokenizer(vocabulary, 3, special), **special)


def tiny_model(family: str = "xlm-roberta", tags: tuple[str, ...] = TAGS, words: list[str] = WORDS, tokenizer=None,
               **changes):
    """A random model of transformers and its tokenizer, the family's own unless one is given."""
    tokenizer = tokenizer or tokenizer_of(family, words)
    values = {"vocab_size": len(tokenizer), "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
              "intermediate_size": 24, "max_position_embeddings": 66, "type_vocab_size": 1, "initializer_range": 0.3,
              "pad_token_id": 1, "id2label": dict(enumerate(tags)), "label2id": {tag: i for i, tag in enumerate(tags)}}
    if family == "bert":
        values |= OF_BERT
    torch.manual_seed(0)
    return MODELS[family](CONFIGS[family](**{**values, **changes})).eval(), tokenizer


def tiny_folder(folder: Path, family: str = "xlm-roberta", max_shard_size: str = "1GB", **changes) -> Path:
    """The folder of a tiny model, as transformers saves it."""
    model, tokenizer = tiny_model(family, **changes)
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    tokenizer.save_pretrained(folder)
    return folder


def lexicon_folder(folder: Path, tags: tuple[str, ...] = TAGS, lexicon: dict[str, str] = LEXICON, **changes) -> Path:
    """A model that tags a word by its first subword alone: the tag of `lexicon`, else O."""
    model, tokenizer = tiny_model(tags=tags, **changes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for name, parameter in model.named_parameters():
            if name.endswith("LayerNorm.weight"):
                parameter.fill_(1.0)
        table = model.roberta.embeddings.word_embeddings.weight
        table[:, tags.index("O")] = 1.0
        for word, tag in lexicon.items():
            row = tokenizer.convert_tokens_to_ids(f"▁{word}")
            table[row] = 0.0
            table[row, tags.index(tag)] = 1.0
        model.classifier.weight[:, : len(tags)] = 2 * torch.eye(len(tags))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def opened(folder, attention="packed", **kwargs):
    """Model (ready to evaluate), configuration and tokenizer of a folder, as this project loads them."""
    config = pretrained.load_config(folder)
    tokenizer = pretrained.load_tokenizer(folder, config)
    return pretrained.load_model(folder, config, attention, **kwargs).eval(), config, tokenizer


def contents(folder: Path) -> dict:
    """Name -> bytes of every file."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
