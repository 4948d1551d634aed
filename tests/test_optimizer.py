"""The optimizer against PyTorch's, its schedule against closed forms."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from w2s_jax.runtime.errors import UserError
from w2s_jax.train.optimizer import OptimizerConfig, decays, learning_rate_at, make_optimizer

PARAMS = {
    "body": {"kernel": np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3), "bias": np.ones(3, np.float32)},
    "norm": {"scale": np.full((2, 3), 2, np.float32)},  # two layers, stacked
    "head": {"kernel": np.full((3, 2), 0.5, np.float32)},
}


def _gradients(step):
    keys = jax.random.split(jax.random.key(step), 4)
    leaves, tree = jax.tree.flatten(PARAMS)
    return tree.unflatten([10.0 * jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)])


def _train(config, steps, **masks):
    tx = make_optimizer(config, steps, **masks)
    params = jax.tree.map(jnp.asarray, PARAMS)
    opt_state = tx.init(params)
    for step in range(steps):
        updates, opt_state = tx.update(_gradients(step), opt_state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("warmup", [0.0, 0.3])
def test_schedule_has_its_closed_form(schedule, warmup):
    rate = learning_rate_at(OptimizerConfig(learning_rate=2e-3, schedule=schedule, warmup_fraction=warmup), 20)
    rising = round(warmup * 20)
    for step in range(25):
        u = min(max((step - rising) / (20 - rising), 0), 1)
        fall = {"constant": 1, "linear": 1 - u, "cosine": math.cos(math.pi * u / 2) ** 2}[schedule]
        rise = min(1, (step + 1) / rising) if rising else 1
        assert float(rate(step)) == pytest.approx(2e-3 * rise * fall, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_adamw_equals_torch(clip_norm):
    torch = pytest.importorskip("torch")
    config = OptimizerConfig(
        learning_rate=1e-2, weight_decay=0.1, beta2=0.95, clip_norm=clip_norm, warmup_fraction=0.2, schedule="linear"
    )
    ours = _train(config, 10)

    leaves = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(PARAMS)}
    theirs = {name: torch.nn.Parameter(torch.tensor(leaf)) for name, leaf in leaves.items()}
    decayed = [p for name, p in theirs.items() if "kernel" in name]
    kept = [p for name, p in theirs.items() if "kernel" not in name]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": kept, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95), eps=1e-8)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: min(1, (t + 1) / 2) * min(1, 1 - (t - 2) / 8))
    for step in range(10):
        for path, leaf in jax.tree_util.tree_leaves_with_path(_gradients(step)):
            theirs[jax.tree_util.keystr(path)].grad = torch.tensor(np.asarray(leaf))
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(theirs.values(), clip_norm)
        optimizer.step()
        schedule.step()

    for path, leaf in jax.tree_util.tree_leaves_with_path(ours):
        expected = theirs[jax.tree_util.keystr(path)].detach().numpy()
        np.testing.assert_allclose(leaf, expected, rtol=2e-5, atol=2e-6)


def test_sgd_equals_torch():
    torch = pytest.importorskip("torch")
    ours = _train(OptimizerConfig("sgd", learning_rate=1e-2, schedule="constant", clip_norm=None), 5)
    weight = torch.nn.Parameter(torch.tensor(PARAMS["head"]["kernel"]))
    optimizer = torch.optim.SGD([weight], lr=1e-2, momentum=0.9)
    for step in range(5):
        weight.grad = torch.tensor(np.asarray(_gradients(step)["head"]["kernel"]))
        optimizer.step()
    np.testing.assert_allclose(ours["head"]["kernel"], weight.detach().numpy(), rtol=1e-5)


def test_adafactor_equals_its_paper():
    """Algorithm 4 of Shazeer & Stern 2018 with a given learning rate, on one matrix wide enough to be factored."""
    config = OptimizerConfig("adafactor", learning_rate=1e-2, schedule="constant", clip_norm=None)
    gradients = np.asarray(jax.random.normal(jax.random.key(0), (3, 128, 160)), np.float64)
    tx = make_optimizer(config, 3)
    params = {"kernel": jnp.zeros((128, 160))}
    opt_state = tx.init(params)
    rows, columns, expected = np.zeros(128), np.zeros(160), np.zeros((128, 160))
    for step, gradient in enumerate(gradients):
        updates, opt_state = tx.update({"kernel": jnp.float32(gradient)}, opt_state, params)
        params = optax.apply_updates(params, updates)
        decay = 1 - (step + 1) ** -0.8
        rows = decay * rows + (1 - decay) * (gradient**2).mean(1)
        columns = decay * columns + (1 - decay) * (gradient**2).mean(0)
        update = gradient / np.sqrt(np.outer(rows, columns) / rows.mean())
        expected -= 1e-2 * update / max(1, np.sqrt((update**2).mean()))
    np.testing.assert_allclose(params["kernel"], expected, rtol=1e-4, atol=1e-6)


def test_only_kernels_and_embeddings_decay():
    mask = decays(PARAMS)
    assert mask == {
        "body": {"kernel": True, "bias": False},
        "norm": {"scale": False},
        "head": {"kernel": True},
    }
    decayed = _train(OptimizerConfig(learning_rate=1e-2, weight_decay=0.5), 3)
    plain = _train(OptimizerConfig(learning_rate=1e-2), 3)
    for name, leaf in (("norm", "scale"), ("body", "bias")):
        np.testing.assert_array_equal(decayed[name][leaf], plain[name][leaf])
    assert not np.allclose(decayed["body"]["kernel"], plain["body"]["kernel"])


def test_the_head_has_its_own_learning_rate():
    def head_mask(params):
        return {name: jax.tree.map(lambda _, head=name == "head": head, part) for name, part in params.items()}

    slow, fast = OptimizerConfig(learning_rate=1e-3), OptimizerConfig(learning_rate=1e-2)
    both = _train(OptimizerConfig(learning_rate=1e-3, head_learning_rate=1e-2), 4, head_mask=head_mask)
    np.testing.assert_allclose(both["head"]["kernel"], _train(fast, 4)["head"]["kernel"], rtol=1e-6)
    np.testing.assert_array_equal(both["body"]["kernel"], _train(slow, 4)["body"]["kernel"])
    with pytest.raises(UserError, match="no head"):
        make_optimizer(OptimizerConfig(head_learning_rate=1e-2), 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "adamx"}, "did you mean 'adamw'"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"learning_rate": 0.0}, "learning_rate must be more than 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be more than 0"),
        ({"clip_norm": -1.0}, "clip_norm must be more than 0"),
        ({"warmup_fraction": 1.0}, r"warmup_fraction must be in \[0, 1\)"),
        ({"weight_decay": -0.1}, "weight_decay must be 0 or more"),
    ],
)
def test_wrong_numbers_are_named(options, message):
    with pytest.raises(UserError, match=message):
        OptimizerConfig(**options)
