"""Encoders' tokenizers are read from tokenizer.json: byte-level BPE and SentencePiece, as transformers wrote them."""

import json

import pytest

from w2s_jax.models import tokenizer

transformers = pytest.importorskip("transformers")

TEXTS = [
    "The city of Ouagadougou is in Burkina Faso.",
    "  two  spaces\n\tand a tab ",
    "Ünïcode — 東京 🙂",
    "",
    "a <mask> and <pad> [MASK] [PAD]",
]


def byte_level():
    from tokenizers import ByteLevelBPETokenizer

    made = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    made.train_from_iterator(TEXTS, 300, show_progress=False, special_tokens=special)
    model = json.loads(made.to_str())["model"]
    return transformers.RobertaTokenizer(vocab=model["vocab"], merges=[tuple(merge) for merge in model["merges"]])


def pieces(*special):
    from tokenizers import SentencePieceUnigramTokenizer

    made = SentencePieceUnigramTokenizer()
    made.train_from_iterator(TEXTS, 90, show_progress=False, unk_token="<unk>", special_tokens=["<unk>"])
    learnt = [(piece, score) for piece, score in json.loads(made.to_str())["model"]["vocab"] if piece != "<unk>"]
    return [(token, 0.0) for token in special] + learnt


KINDS = {
    "roberta": byte_level,
    "xlm-roberta": lambda: transformers.XLMRobertaTokenizer(vocab=pieces("<s>", "<pad>", "</s>", "<unk>")),
    "deberta": lambda: transformers.DebertaV2Tokenizer(vocab=pieces("[PAD]", "[CLS]", "[SEP]", "[UNK]"), unk_id=3),
}


@pytest.mark.parametrize("name", KINDS)
def test_ids_and_texts_are_those_of_transformers(tmp_path, name):
    theirs = KINDS[name]()
    theirs.save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").exists()
    ours = tokenizer.from_folder(tmp_path)
    rows = ours.encode(TEXTS)
    assert rows == [theirs(text)["input_ids"] for text in TEXTS]
    assert all((row[0], row[-1]) == (theirs.cls_token_id, theirs.sep_token_id) for row in rows)
    assert [ours.decode(row) for row in rows] == [theirs.decode(row, skip_special_tokens=True) for row in rows]
    again = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert rows == [again(text)["input_ids"] for text in TEXTS]
