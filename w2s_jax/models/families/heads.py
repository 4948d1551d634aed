"""The heads of transformers' classifiers: what stands between a pooled hidden state and the logits."""

from dataclasses import dataclass

from w2s_jax.models.pooling import Pooling


@dataclass(frozen=True)
class HeadForm:
    """A classifier's head as transformers computes it: `logits = W norm(activation(D pooled + d)) + b`.

    The defaults are those of its decoders: `logits = W pooled`, of the last token.

    Attributes:
      output: the last linear map, W, as checkpoints call it.
      bias: whether it has one.
      dense: the linear map before it, D; None where there is none.
      dense_bias: whether that has a bias.
      activation: of what it gives.
      norm: the layer norm without bias that follows; None where there is none.
      norm_eps: its epsilon.
      pooling: the hidden state that it reads.
      model_class: the transformers class that computes it; None is the family's `classifier_class`.
      prefix: what stands before the backbone's tensors in a checkpoint of that class; None is the family's `prefix`.
      settings: what a config.json says of it, where a family's classifiers differ.
    """

    output: str = "score"
    bias: bool = False
    dense: str | None = None
    dense_bias: bool = True
    activation: str = "tanh"
    norm: str | None = None
    norm_eps: float = 1e-5
    pooling: Pooling = "last"
    model_class: str | None = None
    prefix: str | None = None
    settings: tuple[tuple[str, str | bool], ...] = ()

    @property
    def tensors(self) -> dict[str, str]:
        """The name of each of its tensors, by the path of our parameter."""
        found = {"kernel": f"{self.output}.weight"}
        if self.bias:
            found["bias"] = f"{self.output}.bias"
        if self.dense is not None:
            found["dense/kernel"] = f"{self.dense}.weight"
            if self.dense_bias:
                found["dense/bias"] = f"{self.dense}.bias"
        if self.norm is not None:
            found["norm/scale"] = f"{self.norm}.weight"
        return found

    @property
    def modules(self) -> list[str]:
        """The modules that hold its tensors, first to last."""
        return [name for name in (self.dense, self.norm, self.output) if name is not None]
