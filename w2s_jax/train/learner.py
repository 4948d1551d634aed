"""What a stage trains: a model, which of its parameters, and how."""

from dataclasses import dataclass, field, replace
from typing import Literal

from w2s_jax.models.preference import Preference
from w2s_jax.models.quantized import BASES, Base
from w2s_jax.runtime import errors
from w2s_jax.runtime.errors import UserError
from w2s_jax.train.loop import LoopSettings
from w2s_jax.train.optimizer import OptimizerConfig

TEMPLATE = "{text}\nAnswer:"


@dataclass(frozen=True)
class Generative:
    """Generative finetuning before anything else: next tokens of the transfer split's texts, without labels.

    Student and ceiling both begin with it (Burns et al. 2023, section 5.2.2).

    Attributes:
      epochs: passes over the texts.
      learning_rate: the peak.
      batch_size: texts a step.
    """

    epochs: int = 1
    learning_rate: float = 1e-5
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or not self.learning_rate > 0:
            raise UserError("generative finetuning needs 1 epoch or more, 1 text a batch or more, and a rate above 0")


@dataclass(frozen=True)
class Learner:
    """A pretrained model and how it is trained. Supervisor, student and ceiling are all learners.

    Attributes:
      model: a name from `w2s models`, a local folder or .gguf file, or a Hub id; or, for a probe, features that were
        computed elsewhere: `file.npz:name`, an array [rows, dimensions], or `:name`, of the task's own file.
      parameters: which train: all (`full`), only the new `head`, `lora` adapters, or a `probe`: a linear head on
        features that are computed once and cached. A probe is trained by `train.probe` to the end: of the optimizer
        only `learning_rate` and `weight_decay` (there an L2 penalty) apply, and there is one evaluation, the last.
      read_layer: how many layers are run; None is all. Middle layers often know more than the last.
      pooling: which hidden state the head reads; None is what the model's folder says (sentence-transformers), or else
        the last real token (decoder) or the mean (encoder).
      max_tokens: the longest text.
      too_long: what happens to a longer one.
      chat: every text is a user's message to a chat model, in its tokenizer's own template, after which the model's
        turn begins: there heads read, and answers are written.
      epochs: passes over the training split. With 0, nothing is trained: a published classifier labels as it is
        (`head="pretrained"`, `parameters="head"`).
      batch_size: examples a step; the loss sees all of them at once.
      microbatches: pieces a batch is split into to save memory; the result is the same.
      dtype: of the computation; parameters and optimizer state are float32.
      remat: what the backward pass rematerializes to save memory.
      lora_rank: of the adapters, when parameters is `lora`.
      lora_base: how the weights under them are kept, which do not train: as `float32`, or, in less memory, `bfloat16`
        (that is exact for what was published so), `int8` or `nf4`, 4 bits (`models.quantized`, as in QLoRA). What was
        trained is then the adapters on those rounded weights: exported models and later stages have them too.
      generative: finetune the backbone on text alone first; None does not.
      preference: for a task whose examples are candidates: the language model scores them itself, as DPO or SimPO do,
        with `parameters` full or lora; None scores them with a new head. DPO's reference is what training starts from.
      head: a `new` one, or the `pretrained` one of a published classifier (transformers'
        `AutoModelForSequenceClassification`), to start from; the task must have as many classes, and number them alike.
      output: a `head` over classes, or the answer as `text`, under the model's own language-model head: what the
        task calls its classes (`Task.answers`), after the prompt. So Burns et al. 2023 learn chess (App. A.2); with
        answers like Yes and No it is label-as-token. Answers of one token each learn soft labels with any loss; longer
        ones learn the most probable class, by token (see `train.answering`). `parameters` is then `full` or `lora`.
      template: the prompt, when output is `text`; it holds `{text}`.
    """

    model: str = "smollm2-135m"
    parameters: Literal["full", "head", "lora", "probe"] = "full"
    read_layer: int | None = None
    pooling: Literal["last", "mean", "cls"] | None = None
    max_tokens: int = 512
    too_long: Literal["error", "truncate"] = "error"
    chat: bool = False
    dropout: float = 0.0
    epochs: int = 2
    batch_size: int = 32
    microbatches: int = 1
    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: Literal["none", "dots", "full"] = "none"
    lora_rank: int = 8
    lora_base: Base = "float32"
    generative: Generative | None = None
    head: Literal["new", "pretrained"] = "new"
    preference: Preference | None = None
    output: Literal["head", "text"] = "head"
    template: str = TEMPLATE
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    loop: LoopSettings = field(default_factory=LoopSettings)

    def __post_init__(self) -> None:
        least = {"max_tokens": 1, "epochs": 0, "batch_size": 1, "microbatches": 1, "lora_rank": 1}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise UserError(f"{name} must be {value} or more, not {getattr(self, name)}")
        self._check_head()
        if self.chat and (self.preference is not None or self.generative is not None):
            what = "a preference" if self.preference is not None else "generative finetuning"
            raise UserError(f"{what} reads texts as the model's own, not as a user's messages: leave chat at False")
        if self.lora_base not in BASES:
            raise errors.unknown("lora_base", self.lora_base, BASES)
        if self.lora_base != "float32" and self.parameters != "lora":
            raise UserError(f"lora_base={self.lora_base!r} is of weights under adapters: it needs parameters='lora'")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout must be in [0, 1), not {self.dropout}")
        if self.batch_size % self.microbatches:
            raise UserError(f"batch_size {self.batch_size} is not a multiple of microbatches {self.microbatches}")
        plain = replace(
            OptimizerConfig(), learning_rate=self.optimizer.learning_rate, weight_decay=self.optimizer.weight_decay
        )
        if self.parameters == "probe" and (self.optimizer != plain or self.loop.patience is not None or self.dropout):
            raise UserError(
                "a probe is fitted to the end by Adam with half a cosine: it takes the optimizer's learning_rate and "
                "weight_decay alone, no patience and no dropout; parameters='head' takes all of them"
            )
        if self.preference is not None and self.output == "text":
            raise UserError("a learner compares candidates by its preference or writes answers, not both")
        if self.preference is not None or self.output == "text":
            what = "a preference" if self.preference is not None else "output='text'"
            if self.parameters not in ("full", "lora"):
                raise UserError(
                    f"a learner with {what} has no head that could train alone: parameters='full' or 'lora', not "
                    f"{self.parameters!r}"
                )
            if self.read_layer is not None or self.pooling is not None:
                raise UserError(f"a learner with {what} reads every layer and token: no read_layer, no pooling")
        if self.output == "text" and "{text}" not in self.template:
            raise UserError(f"the template must hold {{text}}; it is {self.template!r}")

    @property
    def program(self) -> "Learner":
        """What decides the compiled program: learners of one program can train together."""
        return replace(self, optimizer=self.optimizer.program)

    def _check_head(self) -> None:
        if self.head not in ("new", "pretrained"):
            raise errors.unknown("head", self.head, ("new", "pretrained"))
        if self.epochs == 0 and (self.head, self.parameters) != ("pretrained", "head"):
            raise UserError(
                "epochs=0 trains nothing, which only a published classifier can do without: head='pretrained' and "
                "parameters='head'; or give epochs=1 or more"
            )
        if self.epochs == 0 and self.generative is not None:
            raise UserError("epochs=0 trains nothing: leave generative at None")
        if self.head == "new":
            return
        if self.parameters == "probe":
            raise UserError("a probe fits a head of its own: parameters='head' trains the pretrained one alone")
        if self.read_layer is not None or self.pooling is not None:
            raise UserError("a pretrained head reads what it was trained on: no read_layer, no pooling")
        if self.preference is not None or self.output == "text":
            raise UserError(
                "a learner with a preference or output='text' has no head over classes: leave head at 'new'"
            )
