"""Products on a CPU: 16-bit ones are rounded once, from a sum in float32, and so are their gradients."""

import jax
import jax.numpy as jnp
import numpy as np

from w2s_jax.models import products


def rounded(array):
    return np.asarray(jnp.asarray(array, jnp.bfloat16), np.float64)


def test_a_product_is_the_exact_one_rounded_once():
    rng = np.random.default_rng(0)
    x, kernel, slope = (rng.standard_normal(shape) for shape in ((3, 5, 256), (256, 7), (3, 5, 7)))
    narrow = jnp.asarray(x, jnp.bfloat16)

    def total(x, kernel):
        return jnp.sum(products.times(x, kernel).astype(jnp.float32) * jnp.asarray(slope, jnp.bfloat16))

    made = products.times(narrow, jnp.asarray(kernel, jnp.float32))
    to_x, to_kernel = jax.grad(total, (0, 1))(narrow, jnp.asarray(kernel, jnp.float32))
    x, kernel, slope = rounded(x), rounded(kernel), rounded(slope)
    assert made.dtype == to_x.dtype == jnp.bfloat16
    assert to_kernel.dtype == jnp.float32
    np.testing.assert_allclose(np.asarray(made, np.float64), x @ kernel, rtol=2**-8, atol=1e-4)
    np.testing.assert_allclose(np.asarray(to_x, np.float64), slope @ kernel.T, rtol=2**-8, atol=1e-4)
    expected = np.einsum("bti,bto->io", x, slope)
    np.testing.assert_allclose(to_kernel, expected, rtol=1e-5, atol=1e-5)  # not rounded at all


def test_a_float32_product_and_its_gradients_are_the_plain_ones():
    rng = np.random.default_rng(0)
    x, kernel, slope = (
        jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in ((3, 5, 8), (8, 7), (3, 5, 7))
    )

    def total(x, kernel, product=products.times):
        return jnp.sum(product(x, kernel) * slope)

    np.testing.assert_allclose(products.times(x, kernel), x @ kernel, rtol=1e-6, atol=1e-6)
    for ours, plain in zip(
        jax.grad(total, (0, 1))(x, kernel),
        jax.grad(lambda *both: total(*both, jnp.matmul), (0, 1))(x, kernel),
        strict=True,
    ):
        np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-5)
