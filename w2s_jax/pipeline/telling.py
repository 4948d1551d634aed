"""What people and trackers are told of steps while stages train."""

import functools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jax.sharding import Mesh

from w2s_jax.runtime import chips
from w2s_jax.runtime.progress import Reporter
from w2s_jax.runtime.tracking import Trackers
from w2s_jax.stages import cost
from w2s_jax.train.learner import Learner
from w2s_jax.train.loop import History, Seen
from w2s_jax.train.optimizer import learning_rate_at


class Telling:
    """Tells a reporter of each step of stages that train together, and its trackers all that is known of it."""

    def __init__(
        self, reporter: Reporter, names: Sequence[str], learners: Sequence[Learner], mesh: Mesh | None
    ) -> None:
        """
        Args:
          names: of the stages.
          learners: theirs, as they are trained.
          mesh: that they train on; None is one device.
        """
        self._reporter, self._learner, self._mesh = reporter, learners[0], mesh
        self._optimizers = dict(zip(names, [learner.optimizer for learner in learners], strict=True))
        self._rates: dict[str, np.ndarray] = {}

    def __call__(self, step: int, total: int, seen: Sequence[Sequence[Seen]]) -> None:
        """As `train.loop.Progress`."""
        trackers = self._reporter.trackers
        for name, each in zip(self._optimizers, seen, strict=False):
            new = each[trackers.logged(name) :]
            trackers.log(name, ((one.step, self._values(name, one, total)) for one in new))
        plain(self._reporter, step, total, seen)

    @functools.cached_property
    def _flops_a_token(self) -> float:
        """Of the model, once: its size is looked up on disk."""
        return cost.PASSES[self._learner.parameters] * cost.parameters(self._learner)

    def _values(self, name: str, seen: Seen, total: int) -> Mapping[str, float]:
        if name not in self._rates:
            self._rates[name] = np.asarray(learning_rate_at(self._optimizers[name], total)(np.arange(total)))
        values = {"loss": seen.loss, "steps": total, "learning_rate": float(self._rates[name][seen.step - 1])}
        if seen.norm is not None:
            values["gradient_norm"] = seen.norm
        if seen.tokens and seen.places:
            values["padding_share"] = 1 - seen.tokens / seen.places
        if seen.tokens and seen.seconds:
            values["tokens_per_second"] = seen.tokens / seen.seconds
            peak = None if self._mesh is None else chips.peak(self._mesh.devices.flat[0].device_kind)
            if peak is not None and self._mesh is not None:
                flops = len(self._optimizers) * self._flops_a_token * seen.tokens
                values["mfu"] = flops / seen.seconds / (peak * self._mesh.size)
        if seen.score is not None:
            values |= _score(self._learner.loop.select, seen.score)
        return values


def _score(select: str, score: float) -> dict[str, float]:
    """An evaluation as trackers call it."""
    if select in ("final", "loss"):
        return {"validation_log_loss": -score}
    return {f"validation_{select}": score}


def whole(trackers: Trackers, name: str, history: History) -> None:
    """Logs the losses of a finished stage, as far as they were not logged while it trained."""

    def steps() -> Iterator[tuple[int, Mapping[str, float]]]:
        for step, loss in enumerate(history.losses, 1):
            yield step, {"loss": loss, "steps": len(history.losses)}

    trackers.log(name, steps())


def plain(reporter: Reporter, step: int, total: int, seen: Sequence[Sequence[Seen]] = ()) -> None:
    """Tells a reporter alone, as `train.loop.Progress`."""
    reporter.step(step, total, [each[-1].loss for each in seen if each])
