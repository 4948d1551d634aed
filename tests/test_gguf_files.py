"""GGUF files in one part or several, of every quantization that the gguf package decodes; and broken ones."""

import jax
import numpy as np
import pytest

from tests.test_models_parity import COMMON, saved, words_tokenizer
from w2s_jax import models
from w2s_jax.models import export, gguf_files
from w2s_jax.runtime.errors import UserError

gguf = pytest.importorskip("gguf")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tests import gguf_writing  # noqa: E402  (it needs gguf and torch)

KINDS = list(gguf.GGMLQuantizationType)


def decoded(kind):
    try:
        gguf.dequantize(np.zeros(gguf.GGML_QUANT_SIZES[kind][1], np.uint8), kind)
    except NotImplementedError:
        return False
    return True


def stored(array, kind):
    """The bytes of an array, where the package can make them; else random ones, whose scales are finite numbers."""
    try:
        return gguf.quantize(array, kind)
    except NotImplementedError:
        block, size = gguf.GGML_QUANT_SIZES[kind]
        rng = np.random.default_rng(1)
        # Halves and bytes of exponents up to 0x3F are small numbers, wherever in a block its scales are.
        return rng.integers(0, 0x40, (len(array), array.shape[1] // block * size)).astype(np.uint8)


def single(path, name, data, kind, architecture="llama"):
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_tensor(name, data, raw_dtype=kind)
    gguf_writing.finish(writer)
    return path


@pytest.mark.parametrize("kind", [kind for kind in KINDS if decoded(kind)], ids=lambda kind: kind.name)
def test_every_quantization_is_read_as_the_gguf_package_decodes_it(tmp_path, kind):
    """And a piece of it is that of the whole, also where it begins within a block."""
    array = np.random.default_rng(0).normal(size=(6, 512)).astype(np.float32)
    data = stored(array, kind)
    tensors = gguf_files.read(single(tmp_path / "m.gguf", "x", data, kind)).tensors
    assert tensors.shapes == {"x": (6, 512)}
    whole = tensors.read("x")
    assert whole.dtype == np.float32
    assert np.isfinite(whole).all()
    assert np.abs(whole).max() > 0
    np.testing.assert_array_equal(whole, gguf.dequantize(data, kind).reshape(6, 512))
    for rows, columns in [((0, 6), (32, 64)), ((1, 3), (5, 40)), ((5, 6), (100, 356)), ((0, 6), (0, 1))]:
        piece = tensors.read("x", slice(*rows), slice(*columns))
        np.testing.assert_array_equal(piece, whole[slice(*rows), slice(*columns)])
    np.testing.assert_array_equal(tensors.read("x", slice(2, 4)), whole[2:4])


def test_the_quantizations_that_people_publish_are_among_those(tmp_path):
    names = {kind.name for kind in KINDS if decoded(kind)}
    assert names >= {"F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q3_K", "Q2_K", "IQ4_XS", "IQ2_XXS", "TQ1_0"}
    assert len(names) > 20


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not decoded(kind)], ids=lambda kind: kind.name)
def test_a_quantization_that_cannot_be_decoded_is_named_with_its_tensor(tmp_path, kind):
    block, size = gguf.GGML_QUANT_SIZES[kind]
    plain = {"F64": np.float64, "I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64}
    dtype = plain.get(kind.name, np.uint8)
    data = np.zeros((2, 512 if kind.name in plain else 512 // block * size), dtype)
    path = single(tmp_path / "m.gguf", "blk.0.ffn_up.weight", data, kind)
    line = f"m.gguf: blk.0.ffn_up.weight is quantized as {kind.name}, which the gguf package cannot decode"
    with pytest.raises(UserError, match=line):
        models.load(str(path))


def test_a_kind_of_numbers_that_is_not_known_at_all_is_named_too(tmp_path):
    path = single(tmp_path / "m.gguf", "odd", np.zeros((2, 32), np.float32), gguf.GGMLQuantizationType.F32)
    content = bytearray(path.read_bytes())
    place = content.index(b"odd") + 3 + 4 + 2 * 8  # behind the number of dimensions and the dimensions
    content[place : place + 4] = (36).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"m\.gguf: odd is quantized as kind 36, which the gguf package cannot decode"):
        models.load(str(path))


@pytest.mark.parametrize("length", [0, 3, 100, -40])
def test_a_file_that_is_not_whole_is_named(tmp_path, length):
    path = single(tmp_path / "m.gguf", "x", np.zeros((2, 32), np.float32), gguf.GGMLQuantizationType.F32)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(UserError, match="is not a whole GGUF file"):
        models.load(str(path))


def test_a_big_endian_file_is_named(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama", endianess=gguf.GGUFEndian.BIG)
    writer.add_tensor("x", np.zeros((2, 32), np.float32))
    gguf_writing.finish(writer)
    with pytest.raises(UserError, match="is a big-endian GGUF file"):
        models.load(str(tmp_path / "m.gguf"))


def in_parts(tmp_path, most=9):
    twin = saved(tmp_path / "folder", "qwen2", {**COMMON, "num_key_value_heads": 2}, head=True)
    words_tokenizer(tmp_path / "tokenizer.json")
    gguf_writing.written(tmp_path / "m.gguf", twin, split_max_tensors=most)
    return sorted(tmp_path.glob("m-*.gguf"))


def test_a_model_in_several_parts_is_named_by_the_first(tmp_path):
    first, *others = in_parts(tmp_path)
    assert first.name == f"m-00001-of-{len(others) + 1:05d}.gguf"
    assert len(others) > 2
    ours, expected = models.load(str(first)), models.load(str(tmp_path / "folder"))
    assert ours.config == expected.config
    jax.tree.map(np.testing.assert_array_equal, dict(ours.params), dict(expected.params))
    head = models.unembedding(str(tmp_path / "folder"))
    np.testing.assert_array_equal(models.unembedding(str(first)), head)
    assert set(models.origin(str(first)).files) == {part.name for part in (first, *others)} | {"tokenizer.json"}
    export.write(ours, tmp_path / "out")
    jax.tree.map(np.testing.assert_array_equal, dict(models.load(str(tmp_path / "out")).params), dict(ours.params))
    changed = tmp_path / "changed"
    changed.mkdir()
    for part in (first, *others, tmp_path / "tokenizer.json"):
        (changed / part.name).write_bytes(part.read_bytes())
    assert models.fingerprint(str(changed / first.name)) == models.fingerprint(str(first))
    again = tmp_path / "again"
    changed.rename(again)
    content = bytearray((again / others[-1].name).read_bytes())
    content[-1] ^= 1
    (again / others[-1].name).write_bytes(content)
    assert models.fingerprint(str(again / first.name)) != models.fingerprint(str(first))


def test_a_part_that_is_missing_or_not_the_first_is_named(tmp_path):
    first, second, *others = in_parts(tmp_path)
    count = len(others) + 2
    with pytest.raises(UserError, match=f"{second.name} is part 2 of {count}: name the first, {first.name}"):
        models.load(str(second))
    moved = second.rename(tmp_path / "elsewhere.gguf")
    with pytest.raises(UserError, match=f"is one of {count} parts, and beside it there is no {second.name}"):
        models.load(str(first))
    with pytest.raises(UserError, match=f"elsewhere.gguf says that it is part 2 of {count}, not part 1 of 1"):
        models.load(str(moved))
    others[0].rename(second)
    moved.rename(others[0])
    with pytest.raises(UserError, match=f"{second.name} says that it is part 3 of {count}, not part 2 of {count}"):
        models.load(str(first))


def test_parts_of_two_models_are_not_one(tmp_path):
    first, *others = in_parts(tmp_path)
    writer = gguf.GGUFWriter(others[-1], "qwen2")
    writer.add_uint16("split.no", len(others))
    writer.add_uint16("split.count", len(others) + 1)
    writer.add_tensor("x", np.zeros((2, 32), np.float32))
    gguf_writing.finish(writer)
    with pytest.raises(UserError, match=r"has \d+ tensors in all its parts, not \d+ as it says"):
        models.load(str(first))
