"""Tokenizers from the vocabularies of GGUF files, by llama.cpp's names for them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from w2s_jax.models import families
from w2s_jax.models.families.gguf import Metadata
from w2s_jax.runtime.errors import UserError


class Words(NamedTuple):
    """How a byte-level BPE tokenizer cuts text into the words within which it merges.

    Attributes:
      patterns: each cuts the pieces of the one before into what it finds and what lies between; without any, GPT-2's.
      digits: each digit stands alone; only with GPT-2's pattern.
      composed: text is first brought to Unicode's composed form (NFC).
      whole: a word that is a token is one, whatever the merges say.
      begins: the first token is `bos_token_id` where the file does not say.
    """

    patterns: tuple[str, ...] = ()
    digits: bool = False
    composed: bool = False
    whole: bool = False
    begins: bool = False


# As tiktoken's cl100k has it; the names of the numbers that stand together are filled in.
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{numbers}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)
_LLAMA3 = Words((_WORDS.format(numbers=r"\p{N}{1,3}"),), whole=True, begins=True)
_DEFAULT = (  # of files older than the names
    r"[\p{P}\$\+<=>\^~\|]+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
    r"\p{N}+",
    r"[0-9][0-9][0-9]",
)
# By `tokenizer.ggml.pre`. Of these GPT-NeoX's, which MPT and OLMo took over, and Qwen's compose text.
PRE_TOKENIZERS = {
    "default": Words(_DEFAULT),
    "gpt-2": Words(),
    "gpt-neox": Words(composed=True),
    "llama-bpe": _LLAMA3,
    "llama-v3": _LLAMA3,
    "llama3": _LLAMA3,
    "mpt": Words(composed=True),
    "olmo": Words(composed=True),
    "qwen2": Words((_WORDS.format(numbers=r"\p{N}"),), composed=True),
    "smollm": Words(digits=True),
}
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4


def build(metadata: Metadata) -> Any:
    """A `tokenizers.Tokenizer`: byte-level BPE, SentencePiece's BPE or BERT's WordPiece.

    Raises:
      UserError: another kind of tokenizer, by name, or one of whose settings one is missing.
    """
    from tokenizers import AddedToken

    kind, pre = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if kind not in families.of_gguf(metadata).gguf_tokenizers or (kind == "gpt2" and pre not in PRE_TOKENIZERS):
        raise UserError(f"GGUF tokenizer {kind!r} ({pre!r}) is not implemented; put a tokenizer.json next to the file")
    tokens = _needed(metadata, "tokens")
    types = list(zip(tokens, _needed(metadata, "token_type"), strict=True))
    if kind == "gpt2":
        inner = _byte_level(tokens, _needed(metadata, "merges"), PRE_TOKENIZERS[str(pre)])
    elif kind == "llama":
        gemma = str(metadata.get("general.architecture")).startswith("gemma")
        inner = _gemma(tokens) if gemma else _sentencepiece(metadata, types)
    else:
        inner = _word_piece(metadata, types)
    control = [token for token, type in types if type == CONTROL]
    inner.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    whole = [token for token, type in types if type == USER_DEFINED and inner.token_to_id(token) is not None]
    inner.add_tokens([AddedToken(token, special=False, normalized=False) for token in whole])
    _add_ends(inner, metadata, kind, begins=kind == "llama" or (kind == "gpt2" and PRE_TOKENIZERS[str(pre)].begins))
    return inner


def _needed(metadata: Metadata, name: str) -> Any:
    key = f"tokenizer.ggml.{name}"
    if key not in metadata:
        raise UserError(f"this GGUF file has no {key}; put a tokenizer.json next to it")
    return metadata[key]


def _add_ends(inner: Any, metadata: Metadata, kind: str, begins: bool) -> None:
    """What stands before and after every text."""
    from tokenizers import processors

    first: list[int] = []
    last: list[int] = []
    if kind == "bert":
        first.append(_marker(inner, metadata, "[CLS]", "cls", "bos"))
        last.append(_marker(inner, metadata, "[SEP]", "seperator", "eos"))
    else:
        if metadata.get("tokenizer.ggml.add_bos_token", begins):
            first.append(_needed(metadata, "bos_token_id"))
        if metadata.get("tokenizer.ggml.add_eos_token", False):
            last.append(_needed(metadata, "eos_token_id"))
    if first or last:
        named = {index: inner.id_to_token(index) for index in first + last}
        inner.post_processor = processors.TemplateProcessing(
            single=[*map(named.get, first), "$A", *map(named.get, last)],
            special_tokens=[(token, index) for index, token in named.items()],
        )


def _marker(inner: Any, metadata: Metadata, usual: str, *names: str) -> int:
    """One of BERT's markers: the first of these that is set (`seperator` is spelled so), or else by its usual name."""
    ids = [metadata.get(f"tokenizer.ggml.{name}_token_id") for name in names]
    found = next((index for index in ids if index is not None), inner.token_to_id(usual))
    if found is None:
        raise UserError(f"this GGUF file has no {usual} among its tokens; put a tokenizer.json next to it")
    return found


def _byte_level(tokens: list[str], merges: list[str], words: Words) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    vocabulary = {token: index for index, token in enumerate(tokens)}
    pairs = [(first, second) for first, _, second in (merge.partition(" ") for merge in merges)]
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs, ignore_merges=words.whole))
    if words.composed:
        inner.normalizer = normalizers.NFC()
    cuts: list[Any] = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in words.patterns]
    cuts += [pre_tokenizers.Digits(individual_digits=True)] if words.digits else []
    bytes_of = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not words.patterns)
    inner.pre_tokenizer = pre_tokenizers.Sequence([*cuts, bytes_of])
    inner.decoder = decoders.ByteLevel()
    return inner


def _sentencepiece(metadata: Metadata, types: list[tuple[str, int]]) -> Any:
    """SentencePiece's BPE, as Llama 2 and Mistral have it: every split of a token into two is a merge, and that of the
    token with the best score comes first."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    vocabulary = {token: index for index, (token, _) in enumerate(types)}
    scored = list(zip(types, _needed(metadata, "scores"), strict=True))
    ranked = sorted(scored, key=lambda each: -each[1])
    merges = [pair for (token, type), _ in ranked if type == NORMAL for pair in _splits(token, vocabulary)]
    unknown = types[metadata.get("tokenizer.ggml.unknown_token_id", 0)][0]
    inner = Tokenizer(models.BPE(vocabulary, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
    before = metadata.get("tokenizer.ggml.add_space_prefix", True)
    spaces = normalizers.Replace(" ", "▁")
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), spaces]) if before else spaces
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    inner.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if before else steps)
    return inner


def _splits(token: str, vocabulary: Mapping[str, int]) -> list[tuple[str, str]]:
    """Every two tokens that a token is made of, in transformers' order."""
    found = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
    found = [pair for pair in found if pair[0] in vocabulary and pair[1] in vocabulary]
    return sorted(found, key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))


def _gemma(tokens: list[str]) -> Any:
    """The file lists no merges: every split of a token into two is one, and they rank as the tokens are listed."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    # Runs of spaces are listed as they are, though the text that they are found in is already spelled with ▁.
    spelled = [token if token.strip(" ") else "▁" * len(token) for token in tokens]
    vocabulary = {token: index for index, token in enumerate(spelled)}
    merges = [
        (token[:cut], token[cut:])
        for token in spelled
        for cut in range(len(token) - 1, 0, -1)
        if token[:cut] in vocabulary and token[cut:] in vocabulary
    ]
    bpe = models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    inner = Tokenizer(bpe)
    inner.normalizer = normalizers.Replace(" ", "▁")
    inner.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return inner


def _word_piece(metadata: Metadata, types: list[tuple[str, int]]) -> Any:
    """The file marks where words begin, with ▁; BERT marks where they go on, with ##."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    def spelled(token: str, type: int) -> str:
        if token.startswith("▁"):
            return token[1:]
        marker = type == CONTROL or (len(token) > 2 and token[0] + token[-1] == "[]")
        return token if marker else "##" + token

    pieces = [spelled(*each) for each in types]
    unknown = metadata.get("tokenizer.ggml.unknown_token_id")
    lower = metadata.get("tokenizer.ggml.normalizer.lowercase")
    if lower is None:  # older files do not say
        lower = not any(piece != piece.lower() for piece in pieces if piece[-1:] != "]")
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    inner = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]" if unknown is None else pieces[unknown]))
    inner.normalizer = normalizers.BertNormalizer(
        lowercase=lower, strip_accents=metadata.get("tokenizer.ggml.normalizer.strip_accents")
    )
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece(prefix="##")
    return inner
