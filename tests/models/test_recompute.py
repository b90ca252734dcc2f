import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from flaxdrop.models.recompute import keep, keeping


class Block(nn.Module):
    names: bool

    @nn.compact
    def __call__(self, x):
        y = nn.Dense(4, name="dense")(jnp.tanh(x))
        return x + jnp.sin(keep(y) if self.names else y)


def scanned(body, names):
    class Blocks(nn.Module):
        @nn.compact
        def __call__(self, x):
            scan = nn.scan(body, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
            return jnp.sum(scan(Block(names), x)[0] ** 2)

    return Blocks()


def body(block, x):
    return block(x), None


def test_gradients_are_the_same():
    x = jnp.linspace(-1, 1, 8).reshape(2, 4)
    plain, ours = scanned(body, False), scanned(keeping(body), True)
    variables = plain.init(jax.random.key(0), x)
    chex.assert_trees_all_equal(ours.init(jax.random.key(0), x), variables)
    got, expected = (jax.jit(jax.grad(of.apply, (0, 1)))(variables, x) for of in (ours, plain))
    chex.assert_trees_all_close(got, expected, rtol=1e-6)


@pytest.mark.parametrize("names", [False, True])
def test_it_keeps_its_carry_and_what_is_named_and_nothing_else(names):
    x = jnp.ones((2, 4))
    model = scanned(keeping(body), names)
    variables = model.init(jax.random.key(0), x)
    _, back = jax.vjp(lambda x: model.apply(variables, x), x)
    stacks = [leaf.shape for leaf in jax.tree.leaves(back) if leaf.shape == (3, 2, 4)]
    assert len(stacks) == 1 + names
