"""What this device computes, beside what it should: attention, every family, packing, bfloat16, and jobs.

Tiny models and random weights; a line for each comparison says how far it is apart, relative to the largest value, and
TOO FAR where that is more than rounding. `benchmarks/gpu.py` runs it first; it can also be run by itself.

Command:  python -m benchmarks.gpu_agreement
"""

import functools
import importlib.util
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

LENGTHS = np.array([13, 5, 1, 9], np.int32)
EXACT, HALF = 2e-3, 0.06  # float32 in other orders of summation, TF32 apart; bfloat16


def main() -> None:
    attention()
    for what, apart, most in (*families(), *forms_of_a_batch(), *jobs()):
        print(f"{what:<44} apart by {apart:.1e}{'  TOO FAR' * (not apart <= most)}", flush=True)


def difference(ours: Any, theirs: Any) -> float:
    ours, theirs = np.asarray(ours, np.float32), np.asarray(theirs, np.float32)
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def families() -> Iterator[tuple[str, float, float]]:
    """Mean hidden states of every family, beside those of transformers on the same device."""
    if not all(map(importlib.util.find_spec, ("torch", "transformers"))):
        print("torch or transformers is not installed: families are not compared")
        return
    import jax
    import torch

    from tests import family_models
    from w2s_jax import models

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = False
    for name in family_models.NAMES:
        ids = np.random.default_rng(0).integers(3, 14, (len(LENGTHS), int(LENGTHS.max()))).astype(np.int32)
        mask = np.arange(ids.shape[1]) < LENGTHS[:, None]
        twin = family_models.twin(name)
        with tempfile.TemporaryDirectory() as folder:
            pretrained = models.load(family_models.saved(Path(folder), twin))
            module, params = models.build_classifier(pretrained, 2, rng=jax.random.key(0), pooling="mean")
        with torch.no_grad():
            given = torch.tensor(ids).long().to(device), torch.tensor(mask).long().to(device)
            states = twin.to(device).base_model(given[0], attention_mask=given[1]).last_hidden_state.float().cpu()
        expected = (states.numpy() * mask[..., None]).sum(1) / LENGTHS[:, None]
        read = functools.partial(module.apply, method="hidden_states")
        with jax.default_matmul_precision("highest"):
            ours = jax.jit(read, static_argnums=3)({"params": params}, ids, LENGTHS, (pretrained.config.n_layers,))
        yield f"{name} and transformers", difference(ours[:, 0], expected), EXACT


def forms_of_a_batch() -> Iterator[tuple[str, float, float]]:
    """Packed tokens beside padded rows, and bfloat16 beside float32."""
    import jax

    from tests import tiny
    from w2s_jax import models
    from w2s_jax.models.packing import Packing

    with tempfile.TemporaryDirectory() as folder:
        pretrained = models.load(str(tiny.llama(Path(folder), width=64)))
        module, params = models.build_classifier(pretrained, 8, rng=jax.random.key(0), pooling="mean")
    kernel = jax.random.normal(jax.random.key(1), params["head"]["kernel"].shape)
    ids = np.random.default_rng(0).integers(1, 14, (len(LENGTHS), int(LENGTHS.max()))).astype(np.int32)

    def states(dtype: str = "float32", packing: Any = None) -> Any:
        run = functools.partial(module.clone(dtype=dtype).apply, packing=packing)
        with jax.default_matmul_precision("highest"):
            return jax.jit(run)({"params": {**params, "head": {"kernel": kernel}}}, ids, LENGTHS)

    padded = states()
    yield "packed and padded", difference(states(packing=Packing(1, 28)), padded), EXACT
    yield "bfloat16 and float32", difference(states("bfloat16"), padded), HALF
    yield "bfloat16, packed, and float32", difference(states("bfloat16", Packing(1, 28)), padded), HALF


def jobs() -> Iterator[tuple[str, float, float]]:
    """Logits after training three jobs together, beside each alone."""
    from tests import tiny
    from w2s_jax import losses, models
    from w2s_jax.train.finetune import Outcome, Problem, finetune, finetune_together
    from w2s_jax.train.learner import Learner
    from w2s_jax.train.optimizer import OptimizerConfig

    texts = ["good film", "a very bad plot", "the film was awful", "great", "not fine", "poor plot", "was good", "bad"]
    for parameters in ("full", "lora"):
        with tempfile.TemporaryDirectory() as folder:
            model = str(tiny.llama(Path(folder)))
            rates = (OptimizerConfig(learning_rate=rate) for rate in (1e-2, 3e-3, 2e-2))
            fields: dict[str, Any] = {"parameters": parameters, "batch_size": 4, "epochs": 3}
            students = [Learner(model, **fields, optimizer=rate) for rate in rates]
            loss, labels = losses.bind(losses.cross_entropy), np.eye(2, dtype=np.float32)[[1, 0, 0, 1, 1, 0, 1, 0]]
            given = [Problem((texts, labels), (texts, labels), {"test": texts}, seed) for seed in (0, 3, 4)]
            starts = [functools.partial(models.load_sharded, model, None)]
            found = finetune_together(students, starts, [loss] * 3, given)
            apart = 0.0
            for student, problem, ours in zip(students, given, found, strict=True):
                assert isinstance(ours, Outcome)
                alone = finetune(student, models.load(model), loss, **problem._asdict())
                apart = max(apart, difference(ours.logits["test"], alone.logits["test"]))
        yield f"three jobs together and alone, {parameters}", apart, 10 * EXACT


def attention() -> None:
    """What attention this device is given in bfloat16, beside the written-out one in float32."""
    import jax.numpy as jnp

    from w2s_jax.models import attention as kernels

    shapes = {"8 heads of 64": (8, 8, 64), "8 heads of 128 over 2": (8, 2, 128), "4 heads of 256 over 1": (4, 1, 256)}
    forms = {"causal": (True, None), "all": (False, None), "window of 100": (True, 100)}
    for shape, (heads, groups, width) in shapes.items():
        for name, (causal, window) in forms.items():
            form = kernels.Form(causal=causal, window=window, scale=width**-0.5)
            apart = apart_by(form, heads, groups, width)
            chosen = kernels.choose(kernels.target(), jnp.bfloat16, width, 384)
            print(f"attention {shape:<22} {name:<14} {chosen:<7} apart by {apart:.1e}{'  TOO FAR' * (apart > 0.03)}")


def apart_by(form: Any, heads: int, groups: int, width: int) -> float:
    """The largest difference of any output or gradient at the real tokens of ragged rows, over the largest value."""
    import jax
    import jax.numpy as jnp

    from w2s_jax.models import attention as kernels

    lengths, columns = jnp.array([384, 200, 129, 3]), jnp.arange(384)
    keys = jax.random.split(jax.random.key(0), 4)
    *inputs, out = (
        jax.random.normal(key, (len(lengths), len(columns), count, width))
        for key, count in zip(keys, (heads, groups, groups, heads), strict=True)
    )
    back = columns[:, None] - columns
    seen = (columns < lengths[:, None, None]) & (back >= 0 if form.causal else back > -len(columns))
    seen &= back < (form.window or len(columns))
    real = (columns < lengths[:, None])[:, :, None, None]

    def results(dtype: Any, precision: str) -> list[jax.Array]:
        def mixed(inputs: list[jax.Array]) -> jax.Array:
            with jax.default_matmul_precision(precision):
                query, key, value = (array.astype(dtype) for array in inputs)
                return jnp.where(real, kernels.mix(query, key, value, seen, lengths, form), 0).astype(jnp.float32)

        return [jax.jit(mixed)(inputs), *jax.jit(jax.grad(lambda inputs: jnp.sum(mixed(inputs) * out)))(inputs)]

    exact, ours = results(jnp.float32, "highest"), results(jnp.bfloat16, "default")
    return max(float(jnp.abs(a - b).max() / jnp.abs(a).max()) for a, b in zip(exact, ours, strict=True))


if __name__ == "__main__":
    main()
