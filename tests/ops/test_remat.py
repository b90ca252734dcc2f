import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from flaxdrop.ops.remat import remat_block, save_for_backward

pytestmark = pytest.mark.optimised


class Block(nn.Module):
    """Two parts, and a small sum that one of them may keep."""

    wrap: object
    names: bool

    @nn.compact
    def __call__(self, x):
        def first(self, x):
            y = jnp.tanh(x)
            total = jnp.sum(y, 0)
            return nn.Dense(4, name="first")(
                y + jnp.tanh(save_for_backward(total) if self.names else total)
            )

        def second(_, y):
            return nn.Dense(4, name="second")(jnp.tanh(y))

        return x + self.wrap(second)(self, self.wrap(first)(self, x))


def scanned(wrap, names=True):
    class Blocks(nn.Module):
        @nn.compact
        def __call__(self, x):
            scan = nn.scan(
                lambda block, x: (block(x), None),
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=3,
            )
            return jnp.sum(scan(Block(wrap, names), x)[0] ** 2)

    return Blocks()


def test_gradients_are_the_same(float64_enabled):
    with float64_enabled():  # sums cancel here
        x = jnp.linspace(-1, 1, 8).reshape(2, 4)
        plain, ours = scanned(lambda part: part), scanned(remat_block)
        variables = jax.jit(plain.init)(jax.random.key(0), x)
        chex.assert_trees_all_equal(jax.jit(ours.init)(jax.random.key(0), x), variables)
        got, expected = (
            jax.jit(jax.grad(model.apply, (0, 1)))(variables, x) for model in (ours, plain)
        )
        chex.assert_trees_all_close(got, expected, rtol=1e-6)


@pytest.mark.parametrize("names", [False, True])
def test_a_part_keeps_its_argument_and_what_is_named_and_nothing_else(names):
    x = jnp.ones((2, 4))
    model = scanned(remat_block, names)
    variables = model.init(jax.random.key(0), x)
    _, back = jax.vjp(lambda x: model.apply(variables, x), x)
    stacks = [leaf.shape for leaf in jax.tree.leaves(back)]
    assert stacks.count((3, 2, 4)) == 2  # what goes into the first part and into the second
    assert stacks.count((3, 4)) == names
