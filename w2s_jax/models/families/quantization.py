"""What a config.json says of quantized weights: float8 with scales is read, every other method is refused by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from w2s_jax.runtime.errors import UserError

HfConfig = Mapping[str, Any]

FLOAT8 = ("fp8", "fbgemm_fp8")  # a float8 matrix and, beside it, its scale
BLOCK = (128, 128)  # of DeepSeek's checkpoints and those after them


@dataclass(frozen=True)
class Scales:
    """How the scales beside float8 tensors are to be understood.

    Attributes:
      block: the rows and columns of a matrix that share a scale, where it has more than one for a row.
      needed: every float8 tensor has a scale.
    """

    block: tuple[int, int] = BLOCK
    needed: bool = False


def scales(config: HfConfig) -> Scales:
    """What a config.json says of its weights' scales.

    Raises:
      UserError: they are quantized by a method that is not implemented; it says what to do.
    """
    given = config.get("quantization_config") or config.get("compression_config")
    if not given and not (isinstance(config.get("quantization"), Mapping) and "bits" in config["quantization"]):
        return Scales()
    if not isinstance(given, Mapping):
        raise _refused(f"mlx, {config['quantization']['bits']} bits" if not given else "an unknown method")
    method = given.get("quant_method")
    if method in FLOAT8 and "fp4" not in (given.get("expert_dtype"), given.get("weight_format")):
        return Scales(_block(given.get("weight_block_size")), needed=True)
    if method == "compressed-tensors":
        weights = [group.get("weights") or {} for group in (given.get("config_groups") or {}).values()]
        whole = given.get("format") == "float-quantized" and not (given.get("sparsity_config") or {}).get("format")
        if whole and weights and all((each.get("type"), each.get("num_bits")) == ("float", 8) for each in weights):
            blocks = [each["block_structure"] for each in weights if each.get("block_structure")]
            return Scales(_block(blocks[0] if blocks else None), needed=True)
    raise _refused(_name(given))


def _block(given: Any) -> tuple[int, int]:
    return BLOCK if given is None else (int(given[0]), int(given[1]))


def _name(given: Mapping[str, Any]) -> str:
    """The method in a few words: `gptq, 4 bits`."""
    loads = {f"load_in_{bits}bit": bits for bits in (4, 8)}
    bits = next((count for name, count in loads.items() if given.get(name)), given.get("bits"))
    method = given.get("quant_method") or ("bitsandbytes" if any(name in given for name in loads) else None)
    words = [method or "an unknown method", given.get("format"), None if bits is None else f"{bits} bits"]
    return ", ".join(str(word) for word in words if word)


def _refused(name: str) -> UserError:
    return UserError(
        f"these weights are quantized ({name}), which is not implemented: use the unquantized model that they were "
        "made from, or load them with transformers, call `model.dequantize()` and `save_pretrained` to a new folder, "
        "and give that; of quantized weights float8 with scales and .gguf files are read"
    )
