"""The heads of transformers' classifiers: what stands between a pooled hidden state and the logits."""

from dataclasses import dataclass

from w2s_jax.models.pooling import Pooling


@dataclass(frozen=True)
class HeadForm:
    """A classifier's head as transformers computes it: `logits = W activation(D pooled + d) + b`.

    The defaults are those of its decoders: `logits = W pooled`, of the last token.

    Attributes:
      output: the last linear map, W, as checkpoints call it.
      bias: whether it has one.
      dense: the linear map before it, D, which has a bias; None where there is none.
      activation: of what that gives.
      pooling: the hidden state that it reads.
      model_class: the transformers class that computes it; None is the family's `classifier_class`.
      prefix: what stands before the backbone's tensors in a checkpoint of that class; None is the family's `prefix`.
    """

    output: str = "score"
    bias: bool = False
    dense: str | None = None
    activation: str = "tanh"
    pooling: Pooling = "last"
    model_class: str | None = None
    prefix: str | None = None

    @property
    def tensors(self) -> dict[str, str]:
        """The name of each of its tensors, by the path of our parameter."""
        found = {"kernel": f"{self.output}.weight"}
        if self.bias:
            found["bias"] = f"{self.output}.bias"
        if self.dense is not None:
            found |= {"dense/kernel": f"{self.dense}.weight", "dense/bias": f"{self.dense}.bias"}
        return found
