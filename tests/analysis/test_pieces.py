"""A program in pieces computes what it does in one, and alike pieces are compiled once."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop import Placement, with_slots
from flaxdrop.analysis.pieces import InPieces

X = jax.random.normal(jax.random.key(0), (4, 6))
KERNELS = list(jax.random.normal(jax.random.key(1), (5, 6, 6)))


def powers(x, kernels):
    """Each step has a number of its own."""
    for i, kernel in enumerate(kernels):
        x = jnp.tanh(x @ kernel) * (1 + 0.1 * i)
    return {"out": x, "given": kernels[0], "fixed": 3.0}


@jax.custom_vjp
def doubled(x):
    """A function with a gradient of its own."""
    return x + x


doubled.defvjp(lambda x: (doubled(x), None), lambda _, g: (g,))


def inner_programs(x, kernels):
    """Programs inside of equations: rules of gradients, calls, loops, branches."""
    x = jax.checkpoint(lambda y: nn.relu(doubled(y) @ kernels[0]))(x)
    x = jax.lax.cond(x.sum() > 0, lambda y: y @ kernels[1], lambda y: y, x)
    x, sums = jax.lax.scan(lambda y, kernel: (y @ kernel, y.sum()), x, jnp.stack(kernels[2:]))
    return jax.vmap(jnp.sort)(x), sums, jax.random.normal(jax.random.key(3), (2,))


def nothing_heavy(x, kernels):
    """No product of matrices, and most of the input is not used."""
    return x, kernels[1].sum(), np.arange(3.0)


@pytest.mark.parametrize("function", [powers, inner_programs, nothing_heavy])
def test_it_computes_what_jit_does(function):
    got, want = InPieces(function)(X, KERNELS), jax.jit(function)(X, KERNELS)
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for one, other in zip(*map(jax.tree.leaves, (got, want)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_alike_pieces_are_compiled_once():
    programs = []
    for depth in (4, 12):
        in_pieces = InPieces(powers)
        in_pieces(X, (KERNELS * 3)[:depth])
        programs.append(in_pieces.compiled)
    assert programs[0] == programs[1] <= 3


def test_branches_that_are_alike_are_compiled_once():
    def branching(x, kernels):
        for kernel in kernels:
            x = jax.lax.cond(x.sum() > 0, lambda y, k: y @ k, lambda y, k: y - k.sum(), x, kernel)
        return x

    in_pieces = InPieces(branching)
    got, want = in_pieces(X, KERNELS), jax.jit(branching)(X, KERNELS)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    assert in_pieces.compiled <= 2


def test_pieces_that_compute_something_else_are_not_taken_for_alike():
    def mixed(x, kernels):
        for kernel in kernels[:3]:
            x = jnp.tanh(x @ kernel)
        for kernel in kernels[3:]:
            x = jnp.sin(x @ kernel)
        return jax.lax.cumsum(x, reverse=True) @ kernels[0] + jax.lax.cumsum(x) @ kernels[0]

    got, want = InPieces(mixed)(X, KERNELS), jax.jit(mixed)(X, KERNELS)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_it_is_traced_once_for_each_shape():
    traces = []

    def counted(x, kernels):
        traces.append(x.shape)
        return powers(x, kernels)

    in_pieces = InPieces(counted)
    for x in (X, 2 * X, X[:2], X):
        in_pieces(x, KERNELS)
    assert traces == [X.shape, X[:2].shape]


class Blocks(nn.Module):
    """Convolutional blocks, unrolled."""

    depth: int

    @nn.compact
    def __call__(self, x, train=False):
        for _ in range(self.depth):
            x = nn.Conv(4, (3, 3))(nn.relu(nn.BatchNorm(use_running_average=not train)(x)))
        return x


def test_a_network_with_slots_has_as_many_pieces_at_any_depth():
    x = jax.random.normal(jax.random.key(0), (2, 6, 6, 4))
    programs = []
    for depth in (4, 6):
        model = with_slots(Blocks(depth), x)
        variables = jax.jit(model.init)(jax.random.key(1), x)

        def call(variables, placement, key, model=model):
            options = {"placement": placement, "rngs": {"dropout": key}, "mutable": ["batch_stats"]}
            return model.apply(variables, x, train=True, **options)

        placement = Placement(dict.fromkeys(model.slots, 0.3))
        in_pieces = InPieces(call)
        got, want = (f(variables, placement, jax.random.key(2)) for f in (in_pieces, jax.jit(call)))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), got, want)
        programs.append(in_pieces.compiled)
    assert programs[0] == programs[1]
