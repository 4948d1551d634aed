"""A pretrained backbone under a linear head over classes."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int

from w2s_jax.models.config import ModelConfig
from w2s_jax.models.decoder import Decoder
from w2s_jax.models.encoder import Encoder
from w2s_jax.models.families.heads import HeadForm
from w2s_jax.models.layers import ACTIVATIONS, Lora, Norm, Settings, named
from w2s_jax.models.packing import Packing
from w2s_jax.models.pooling import Pooling, pool
from w2s_jax.models.quantized import Base
from w2s_jax.runtime import errors

POOLINGS = ("last", "mean", "cls")
_ZEROS: Any = nn.initializers.zeros
_ACTIVATIONS = {**ACTIVATIONS, "tanh": jnp.tanh}


class Classifier(nn.Module):
    """Logits over classes from one pooled hidden state a row: `logits = pool(hidden) W`, or by a published head.

    Attributes:
      config: the backbone.
      n_classes: outputs; 1 is a scalar reward.
      pooling: the hidden state that the head reads; None is that of the head's form, or else what the config says, or
        else the last real token (decoder) or the mean (encoder).
      read_layer: how many layers are run and have parameters; None is all. See `ModelConfig.cut`.
      dropout: rate, where the family has dropout.
      scan: layers in a compiled loop.
      remat: what the backward pass rematerializes: `none`, `dots` or `full`.
      dtype: of the computation; norms, softmax and logits are float32.
      lora: adapters, or None.
      base: how the backbone's weights are kept (`models.quantized`); only those of adapters train if not as float32.
      form: of a head that a published classifier was trained with; None is a linear map.
    """

    config: ModelConfig
    n_classes: int = 2
    pooling: Pooling | None = None
    read_layer: int | None = None
    dropout: float = 0.0
    scan: bool = True
    remat: str = "none"
    dtype: str = "float32"
    lora: Lora | None = None
    base: Base = "float32"
    form: HeadForm | None = None

    def setup(self) -> None:
        if self.pooling is not None and self.pooling not in POOLINGS:
            raise errors.unknown("pooling", self.pooling, POOLINGS)
        config = self.config.cut(self.read_layer)
        settings = Settings(jnp.dtype(self.dtype), self.dropout, lora=self.lora, base=self.base)
        backbone = Encoder if config.is_encoder else Decoder
        self.backbone = backbone(config, settings, self.scan, self.remat)
        self.head = Head(self.n_classes, self.form)

    def __call__(
        self,
        tokens: Int[Array | np.ndarray, "b t"],
        lengths: Int[Array | np.ndarray, " b"],
        *,
        deterministic: bool = True,
        packing: Packing | None = None,
    ) -> Float[Array, "b c"]:
        """Logits, float32.

        Args:
          tokens: ids, int32, padded on the right with any id.
          lengths: how many of each row are real, int32.
          deterministic: no dropout; otherwise the random stream `dropout` is needed.
          packing: room for the real tokens alone; None computes padding too. The logits are the same.
        """
        hidden, _ = self.backbone(tokens, lengths, deterministic=deterministic, packing=packing)
        return self.head(pool(hidden, jnp.asarray(lengths), self._pooling))

    def hidden_states(
        self,
        tokens: Int[Array | np.ndarray, "b t"],
        lengths: Int[Array | np.ndarray, " b"],
        layers: Sequence[int],
    ) -> Float[Array, "b l d"]:
        """Pooled hidden states after several layers, from one forward pass, float32.

        Args:
          layers: counted from 1. As in Hugging Face's `hidden_states`, those before the last are the raw residual
            stream, and the last has the final norm.

        Raises:
          ValueError: a layer that is not run.
        """
        last = self.config.cut(self.read_layer).n_layers
        if not layers or not all(1 <= layer <= last for layer in layers):
            raise ValueError(f"layers must be in 1..{last}, not {tuple(layers)}")
        hidden, emitted = self.backbone(tokens, lengths, emit=self._pooling)
        assert emitted is not None
        final = pool(hidden, jnp.asarray(lengths), self._pooling)
        picked = [final if layer == last else emitted[layer - 1] for layer in layers]
        return jnp.stack(picked, axis=1).astype(jnp.float32)

    @property
    def _pooling(self) -> Pooling:
        stated = self.config.pooling if self.form is None else self.form.pooling
        return self.pooling or stated or self.config.default_pooling


class Head(nn.Module):
    """A linear map without bias, zero at first, in float32; or a published classifier's head, of its form."""

    n_classes: int
    form: HeadForm | None = None

    @nn.compact
    def __call__(self, features: Float[Array, "b d"]) -> Float[Array, "b c"]:
        x, form = features.astype(jnp.float32), self.form
        if form is not None and form.dense is not None:
            x = _ACTIVATIONS[form.activation](Affine(form.dense_bias, name="dense")(x))
        if form is not None and form.norm is not None:
            x = Norm("unbiased", form.norm_eps, jnp.float32, name="norm")(x)
        logits = x @ self.param("kernel", named(_ZEROS, "embed", "classes"), (x.shape[-1], self.n_classes))
        return logits if form is None or not form.bias else logits + self.param("bias", _ZEROS, (self.n_classes,))


class Affine(nn.Module):
    """A linear map between vectors of one size, in float32."""

    bias: bool

    @nn.compact
    def __call__(self, x: Float[Array, "b d"]) -> Float[Array, "b d"]:
        size = x.shape[-1]
        kernel = self.param("kernel", named(_ZEROS, "embed", None), (size, size))
        return x @ kernel + self.param("bias", _ZEROS, (size,)) if self.bias else x @ kernel
