"""Tokenizers from GGUF files give the tokens of transformers' tokenizers of the same vocabulary."""

import itertools
import json

import jax
import numpy as np
import pytest
import regex

from tests.test_models_parity import COMMON
from w2s_jax import models
from w2s_jax.models import gguf_tokenizer
from w2s_jax.runtime.errors import UserError

gguf = pytest.importorskip("gguf")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tests import gguf_writing  # noqa: E402  (it needs gguf and torch)

TEXTS = [
    "Hello world, it's 12345 and 3.14!",
    "",
    " ",
    "  two  spaces\tand\n\n\ttabs \r\n  end  ",
    "I'Ve TOLD'em: we'LL, they'd, don't 'Re",
    "e\u0301a\u0308 \u00e9\u00e4 \u1100\u1161\u11a8 \ufb01 \u212b",  # composed and decomposed
    "東京は 2024年 🙂🙂 हिन्दी Καλημέρα \u200d\u200b",
    "x=$1+2<3>4^5~6|7 `code` <b>&amp;</b>",
    "111 2222 33333 ٣٤٥ ½ ⅷ",
    "<|im_start|>user<tool>  hi<|endoftext|> unmerged",
    "a" * 50 + " \n \n  \n",
]
CORPUS = [
    "Hello hello world world it's that's we've they'll I'd don't 12 123 1234 2024 2025",
    "the of and to in is was for that with his her on at by which have from   spaces\n\n\n  and\ttabs",
    "def function(x):\n    return x + 1\n\n    if x == 12:\n        print('x', x)\n",
    "東京 東京は 年 हिन्दी Καλημέρα \u00e9 \u00e9\u00e4 e\u0301 a\u0308",
    "Hello world HELLO WORLD aaaa aaaaaaaa bbbb x=1 y=22 z=333",
]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|padding|>"]


def trained(pattern=None):
    """Tokens and merges of a byte-level tokenizer that knows words with spaces, digits and punctuation in them."""
    from tokenizers import Regex, Tokenizer, pre_tokenizers, trainers
    from tokenizers import models as kinds

    inner = Tokenizer(kinds.BPE())
    cut = pre_tokenizers.Split(Regex(pattern or r" ?[^ ]+|\s+"), "isolated")
    inner.pre_tokenizer = pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(False, use_regex=False)])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, show_progress=False, min_frequency=1)
    inner.train_from_iterator(CORPUS * 3, trainer)
    saved = json.loads(inner.to_str())["model"]
    vocabulary = sorted(saved["vocab"], key=saved["vocab"].get)
    return [*vocabulary, "Ġunmerged"], [tuple(pair) for pair in saved["merges"]]  # a word that no merges lead to


def gpt2_like(pre, vocabulary, merges, user_defined=(), **more):
    """The settings of a byte-level tokenizer."""

    def add(writer):
        tokens = [*vocabulary, *SPECIAL, *user_defined]
        writer.add_tokenizer_model("gpt2")
        if pre is not None:
            writer.add_tokenizer_pre(pre)
        writer.add_token_list(tokens)
        writer.add_token_types([1] * len(vocabulary) + [3] * len(SPECIAL) + [4] * len(user_defined))
        writer.add_token_merges([" ".join(pair) for pair in merges])
        writer.add_bos_token_id(len(vocabulary))
        writer.add_eos_token_id(len(vocabulary))
        for name, value in more.items():
            getattr(writer, f"add_{name}")(value)

    return add


def tokenizer_of(tmp_path, add, family="qwen2"):
    settings = {**COMMON, "num_key_value_heads": 2} if family != "gpt2" else {"n_embd": 32, "n_layer": 1, "n_head": 4}
    config = transformers.AutoConfig.for_model(family, **{**settings, "num_hidden_layers": 1})
    kind = transformers.AutoModel if family == "bert" else transformers.AutoModelForCausalLM
    tmp_path.mkdir(exist_ok=True)
    return models.outline(str(gguf_writing.written(tmp_path / "m.gguf", kind.from_config(config), add)))[1]


def ids(reference, texts):
    return [encoding.ids for encoding in reference.encode_batch(texts)]


def llama3(vocabulary, merges):
    """As Meta publishes it: tiktoken's pattern, in transformers' words."""
    from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers, processors
    from tokenizers import models as kinds
    from transformers.convert_slow_tokenizer import TikTokenConverter

    inner = Tokenizer(kinds.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    pattern = Regex(TikTokenConverter().pattern)
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(pattern, "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(SPECIAL)
    bos = SPECIAL[0]
    inner.post_processor = processors.TemplateProcessing(f"{bos} $A", special_tokens=[(bos, vocabulary[bos])])
    return inner


PUBLISHED = {
    "gpt-2": ("gpt2", lambda **vocab: transformers.GPT2Tokenizer(**vocab)),
    "qwen2": ("qwen2", lambda **vocab: transformers.Qwen2Tokenizer(**vocab)),
    "mpt": ("gpt_neox", lambda **vocab: transformers.GPTNeoXTokenizer(**vocab)),
    "olmo": ("gpt_neox", lambda **vocab: transformers.GPTNeoXTokenizer(**vocab)),
    "gpt-neox": ("gpt_neox", lambda **vocab: transformers.GPTNeoXTokenizer(**vocab)),
}


@pytest.mark.parametrize("pre", [*PUBLISHED, "llama-bpe", "llama3", "llama-v3"])
def test_tokens_are_those_of_transformers_tokenizer_of_that_name(tmp_path, pre):
    vocabulary, merges = trained()
    numbered = {token: index for index, token in enumerate([*vocabulary, *SPECIAL])}
    if pre in PUBLISHED:
        family, make = PUBLISHED[pre]
        reference = make(vocab=numbered, merges=merges)
        reference.add_special_tokens({"additional_special_tokens": SPECIAL[:2]})
        reference = reference._tokenizer
    else:
        family, reference = "llama", llama3(numbered, merges)
    ours = tokenizer_of(tmp_path, gpt2_like(pre, vocabulary, merges), family)
    assert ours.encode(TEXTS) == ids(reference, TEXTS)
    assert ours.vocab_size == len(numbered)
    for row in ours.encode(TEXTS):
        assert ours.decode(row) == reference.decode(row)
        assert ours.spell(row) == reference.decode(row, skip_special_tokens=False)


def test_names_stand_for_different_tokenizers():
    """So that the texts above tell them apart."""
    vocabulary, merges = trained()
    words = gguf_tokenizer.PRE_TOKENIZERS
    pairs = [" ".join(pair) for pair in merges]
    rows = {name: ids(gguf_tokenizer._byte_level(vocabulary, pairs, words[name]), TEXTS) for name in words}
    kinds = ["gpt-2", "smollm", "qwen2", "llama-bpe", "default", "mpt"]
    assert all(rows[a] != rows[b] for a, b in itertools.combinations(kinds, 2))


def pieces(text, patterns):
    """llama.cpp's way: each pattern cuts what the one before has left whole, and what lies between matches stays."""
    found = [text]
    for pattern in patterns:
        cut = []
        for piece in found:
            end = 0
            for match in regex.finditer(pattern, piece):
                cut += [piece[end : match.start()], match.group()]
                end = match.end()
            cut.append(piece[end:])
        found = [piece for piece in cut if piece]
    return found


@pytest.mark.parametrize("pre", ["default", "llama-bpe", "qwen2"])
def test_words_are_cut_as_llama_cpp_cuts_them(pre):
    vocabulary, merges = trained()
    words = gguf_tokenizer.PRE_TOKENIZERS[pre]
    inner = gguf_tokenizer._byte_level(vocabulary, [" ".join(pair) for pair in merges], words)
    for text in TEXTS:
        spans = [span for _, span in inner.pre_tokenizer.pre_tokenize_str(text)]
        assert [text[start:end] for start, end in spans] == pieces(text, words.patterns)


def test_smollms_tokenizer_is_the_same_as_ever(tmp_path):
    """Its hash is part of what results are known by."""
    from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
    from tokenizers import models as kinds

    vocabulary, merges = trained()
    inner = Tokenizer(kinds.BPE(vocab={token: i for i, token in enumerate([*vocabulary, *SPECIAL])}, merges=merges))
    digits = pre_tokenizers.Digits(individual_digits=True)
    inner.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    ours = tokenizer_of(tmp_path, gpt2_like("smollm", vocabulary, merges), "llama")
    assert ours.inner.to_str() == inner.to_str()


def test_tokens_that_the_publisher_added_are_whole(tmp_path):
    """Such as Qwen's <tool_call> and GPT-NeoX's runs of spaces, which are no special tokens."""
    vocabulary, merges = trained()
    own = ["<tool>", "  "]
    add = gpt2_like("qwen2", vocabulary, merges, own)
    ours = tokenizer_of(tmp_path, add)
    first, second = (len(vocabulary) + len(SPECIAL) + place for place in range(2))
    (row,) = ours.encode(["<tool>  hi"])
    assert row[:2] == [first, second]
    assert ours.decode(row) == "<tool>  hi"


@pytest.mark.parametrize(
    ("pre", "more", "ends"),
    [
        ("llama-bpe", {}, (True, False)),
        ("llama-bpe", {"add_bos_token": False}, (False, False)),
        ("qwen2", {"add_bos_token": True, "add_eos_token": True}, (True, True)),
        ("qwen2", {"add_eos_token": True}, (False, True)),
        ("qwen2", {}, (False, False)),
    ],
)
def test_the_file_says_what_stands_around_a_text(tmp_path, pre, more, ends):
    vocabulary, merges = trained()
    ours = tokenizer_of(tmp_path, gpt2_like(pre, vocabulary, merges, **more))
    marker = [len(vocabulary)]
    plain = [encoding.ids for encoding in ours.inner.encode_batch(TEXTS, add_special_tokens=False)]
    assert ours.encode(TEXTS) == [marker * ends[0] + row + marker * ends[1] for row in plain]


@pytest.mark.parametrize("pre", ["tekken", "deepseek-llm", "gpt-4o", None])
def test_other_tokenizers_are_named_with_what_to_do(tmp_path, pre):
    vocabulary, merges = trained()
    line = rf"GGUF tokenizer 'gpt2' \({pre!r}\) is not implemented; put a tokenizer.json next to the file"
    with pytest.raises(UserError, match=line):
        tokenizer_of(tmp_path, gpt2_like(pre, vocabulary, merges))


@pytest.mark.parametrize("name", ["tokens", "token_type", "merges"])
def test_a_vocabulary_that_is_missing_is_named(tmp_path, name):
    vocabulary, merges = trained()
    add = gpt2_like("qwen2", vocabulary, merges)

    def without(writer):
        add(writer)
        del writer.kv_data[0][f"tokenizer.ggml.{name}"]

    with pytest.raises(UserError, match=f"this GGUF file has no tokenizer.ggml.{name}; put a tokenizer.json next to"):
        tokenizer_of(tmp_path, without)


UNCASED = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "quick", "##er", "un", "##aff", "##able"]
UNCASED += ["!", "'", ",", "[", "]", "##s", "cafe", "東", "京", "ss", "a", "##a", "1", "##2", "$", "+", "##é"]
CASED = [*UNCASED, "The", "Quick", "Café", "##ER"]
SENTENCES = [
    "The quicker, UNAFFABLE café!",
    "",
    "東京's [MASK] quick[SEP]er [unused0] [PAD9]",
    "Cafe\u0301 a\u00a0aa\tAA\u200b 12 $+ zzz \u0000\ufffd straße",
    "a" * 99 + " " + "a" * 101,
]


def bert(tokens, style, **more):
    """As llama.cpp's converter writes it, or wrote it (`older`)."""
    control = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

    def phantom(token):
        if token in control or (style == "older" and token[0] + token[-1] == "[]" and len(token) > 1):
            return token
        return token[2:] if token.startswith("##") else "▁" + token

    def add(writer):
        writer.add_token_type_count(2)
        writer.add_tokenizer_model("bert")
        writer.add_tokenizer_pre("default")
        unused = [] if style == "older" else ["▁[PAD99]"]
        writer.add_token_list([*map(phantom, tokens), *unused])
        writer.add_token_types([3 if token in control else 1 for token in tokens] + [5] * len(unused))
        if style == "newer":
            writer.add_bos_token_id(tokens.index("[CLS]"))
            writer.add_eos_token_id(tokens.index("[SEP]"))
            writer.add_unk_token_id(tokens.index("[UNK]"))
            writer.add_sep_token_id(tokens.index("[SEP]"))
            writer.add_add_bos_token(True)
            writer.add_add_eos_token(True)
        for key, value in more.items():
            writer.add_bool(f"tokenizer.ggml.normalizer.{key}", value)

    return add


@pytest.mark.parametrize("style", ["newer", "older"])
@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("lower", [True, False])
def test_word_pieces_are_those_of_transformers(tmp_path, style, said, lower):
    """The file says whether text is lowercased, or else its vocabulary does."""
    tokens = UNCASED if lower else CASED
    reference = transformers.BertTokenizer(vocab={token: i for i, token in enumerate(tokens)}, do_lower_case=lower)
    ours = tokenizer_of(tmp_path, bert(tokens, style, **({"lowercase": lower} if said else {})), "bert")
    rows = ours.encode(SENTENCES)
    assert rows == [reference(text)["input_ids"] for text in SENTENCES]
    assert all((row[0], row[-1]) == (tokens.index("[CLS]"), tokens.index("[SEP]")) for row in rows)
    assert [ours.decode(row) for row in rows] == [reference._tokenizer.decode(row) for row in rows]


def test_accents_may_stay_though_text_is_lowercased(tmp_path):
    vocabulary = {token: i for i, token in enumerate(UNCASED)}
    reference = transformers.BertTokenizer(vocab=vocabulary, do_lower_case=True, strip_accents=False)
    ours = tokenizer_of(tmp_path, bert(UNCASED, "newer", lowercase=True, strip_accents=False), "bert")
    assert ours.encode(SENTENCES) == [reference(text)["input_ids"] for text in SENTENCES]


def test_a_bert_without_its_markers_is_named(tmp_path):
    tokens = [token for token in UNCASED if token != "[SEP]"]
    with pytest.raises(UserError, match=r"this GGUF file has no \[SEP\] among its tokens"):
        tokenizer_of(tmp_path, bert(tokens, "older"), "bert")


def test_texts_are_those_that_a_bert_of_gguf_reads(tmp_path):
    """The whole way: a text to the hidden state of transformers."""
    torch.manual_seed(0)
    config = transformers.BertConfig(**{**COMMON, "vocab_size": len(UNCASED), "type_vocab_size": 2})
    twin = transformers.BertModel(config).eval()
    reference = transformers.BertTokenizer(vocab={token: i for i, token in enumerate(UNCASED)})
    path = gguf_writing.written(tmp_path / "m.gguf", twin, bert(UNCASED, "older"))
    pretrained = models.load(str(path))
    (row,) = pretrained.tokenizer.encode(SENTENCES[:1])
    module, params = models.build_classifier(pretrained, 2, rng=jax.random.key(0), pooling="cls")
    given = {"params": params}, np.array([row], np.int32), np.array([len(row)], np.int32), (3,)
    found = module.apply(*given, method="hidden_states")
    with torch.no_grad():
        theirs = twin(**reference(SENTENCES[0], return_tensors="pt")).last_hidden_state[:, 0].numpy()
    np.testing.assert_allclose(np.asarray(found)[:, 0], theirs, atol=1e-4)


LLAMA2 = [  # pieces with their scores: the best is merged first, wherever it stands in the list
    *(("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)),
    *((f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)),
    *((piece, -float(rank), 1) for rank, piece in enumerate(["▁t", "he", "▁the", "in", "▁a", "er", "▁▁", "re", "▁h"])),
    *((piece, -float(rank), 1) for rank, piece in enumerate(["ab", "bc", "abc", "▁the▁"], 20)),
    *(("the", -2.5, 1), ("th", -1.5, 1)),
    *((letter, -100.0 - place, 1) for place, letter in enumerate("▁etaoinshrbc.")),
]
SPEECH = [
    "the there in here",
    "",
    " the",
    "  a  b",
    "abcabc abc",
    "the\n\tthe",
    "Zoë 東京",
    "a.the.",
    "h",
    "nothe rain",
]


def llama2(**more):
    def add(writer):
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        tokens, scores, types = zip(*LLAMA2, strict=True)
        writer.add_token_list(tokens)
        writer.add_token_scores(scores)
        writer.add_token_types(types)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_unk_token_id(0)
        for key, value in more.items():
            writer.add_bool(f"tokenizer.ggml.{key}", value)

    return add


def sentencepieces(text):
    """By SentencePiece's own rule: of all neighbours that make a piece, the best, and of equals the first."""
    ids = {piece: index for index, (piece, _, _) in enumerate(LLAMA2)}
    scores = {piece: score for piece, score, type in LLAMA2 if type == 1}
    pieces = list(("▁" + text).replace(" ", "▁")) if text else []
    while True:
        pairs = [(scores[a + b], -i) for i, (a, b) in enumerate(itertools.pairwise(pieces)) if a + b in scores]
        if not pairs:
            break
        at = -max(pairs)[1]
        pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
    spelled = ([piece] if piece in ids else [f"<0x{byte:02X}>" for byte in piece.encode()] for piece in pieces)
    return [ids[each] for piece in spelled for each in piece]


def test_pieces_are_those_of_sentencepiece(tmp_path):
    """Llama 2's and Mistral's; transformers reads the same of a file, but for a text that begins with a space."""
    ours = tokenizer_of(tmp_path, llama2(), "llama")
    rows = ours.encode(SPEECH)
    assert rows == [[1, *sentencepieces(text)] for text in SPEECH]
    assert [ours.decode(row) for row in rows] == SPEECH
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file="m.gguf")
    for text, row in zip(SPEECH, rows, strict=True):
        assert text.startswith(" ") or reference(text)["input_ids"] == row


def test_a_file_says_whether_a_space_and_a_token_come_first(tmp_path):
    said = {"add_space_prefix": False, "add_bos_token": False, "add_eos_token": True}
    plain = tokenizer_of(tmp_path, llama2(**said), "llama")
    whole = tokenizer_of(tmp_path / "b", llama2(), "llama").encode([" the"])[0]
    assert plain.encode(["▁the", " the", "the"])[0] == plain.encode([" the"])[0] == [*whole[2:], 2]
    assert plain.decode(plain.encode([" the"])[0]) == " the"


def test_scores_that_are_missing_are_named(tmp_path):
    def without(writer):
        llama2()(writer)
        del writer.kv_data[0]["tokenizer.ggml.scores"]

    with pytest.raises(UserError, match=r"this GGUF file has no tokenizer\.ggml\.scores"):
        tokenizer_of(tmp_path, without, "llama")
