import subprocess
import sys

import jax.numpy as jnp
import pytest
from flax import nnx

from flaxdrop import Placement
from flaxdrop.nnx import Dropout, describe

X = jnp.ones((2, 8))


class Network(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.Sequential(*(nnx.Linear(8, 8, rngs=rngs) for _ in range(2)))
        self.p6 = Dropout("p6")

    def __call__(self, x):
        return self.p6(self.layers(x))


class Drawn(Network):
    @property
    def layout(self):
        return {"network": "Dense -> Dense -> {p6}"}


def test_every_group_has_a_line_in_calling_order(slotted):
    text = describe(slotted, placement=Placement.parse("p6=0.1/0.3:channel,head:in=0.2"))
    title, *lines = text.splitlines()
    assert title.startswith("Network: ")
    assert [line.split()[0] for line in lines] == list(slotted.slots)
    rates = {line.split()[0]: line.split()[-1] for line in lines}
    assert rates["p6"] == "0.1:channel/0.3:channel"
    assert rates["head:in"] == "0.2"
    assert rates["p4"] == "off"


def test_parameters_are_counted():
    assert describe(Network(nnx.Rngs(0)), X).startswith("Network: 144 parameters\n")


def test_a_layout_is_drawn_as_for_linen():
    text = describe(Drawn(nnx.Rngs(0)), X, placement=Placement.parse("p6=0.1"))
    assert text.splitlines()[1] == "network  Dense -> Dense -> (p6=0.1)"


@pytest.mark.parametrize("model", [None, 3, Network])
def test_what_is_no_network_is_refused(model):
    with pytest.raises(ValueError, match=r"model: must be a flax\.nnx\.Module"):
        describe(model, X)


def test_flaxdrop_does_not_import_nnx():
    program = "import sys, flaxdrop, flaxdrop.analysis; print('flax.nnx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["False"]
