import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from flaxdrop import Placement, analysis
from flaxdrop.nnx import advise, mc_predict, recalibrate, variance_shift, with_slots

WIDTH = 16
X = jnp.asarray(np.random.RandomState(0).randn(512, WIDTH), jnp.float32)


class Chain(nnx.Module):
    """Three times a norm, ReLU, dropout and weight, called as `lift` says."""

    def __init__(self, lift="none", norm=nnx.BatchNorm, **options):
        self.lift = lift

        def make(rngs):
            return Link(rngs, norm, options)

        if lift == "scan":
            self.links = nnx.split_rngs(splits=3)(nnx.vmap(make, in_axes=(0,)))(nnx.Rngs(0))
        else:
            rngs = nnx.Rngs(0)
            self.links = Links(make, rngs)

    def __call__(self, x):
        if self.lift == "scan":
            return nnx.scan(lambda link, x: link(x), in_axes=(0, nnx.Carry), out_axes=nnx.Carry)(
                self.links, x
            )
        call = {"none": lambda f: f, "jit": nnx.jit, "remat": nnx.remat}[self.lift](_call)
        for i in range(3):
            x = call(getattr(self.links, f"link_{i}"), x)
        return x


class Links(nnx.Module):
    def __init__(self, make, rngs):
        self.link_0, self.link_1, self.link_2 = (make(rngs) for _ in range(3))


def _call(link, x):
    return link(x)


class Link(nnx.Module):
    def __init__(self, rngs, norm, options):
        self.norm = norm(WIDTH, rngs=rngs, **options)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.dense = nnx.Linear(WIDTH, WIDTH, use_bias=False, rngs=rngs)

    def __call__(self, x):
        return self.dense(self.drop(nnx.relu(self.norm(x))))


@pytest.mark.parametrize("lift", ["none", "scan", "remat", "jit"])
def test_norms_are_found_and_measured_within_transformations(lift):
    model = Chain(lift)
    before = jax.tree.map(np.asarray, jax.tree.leaves(nnx.state(model, nnx.Not(nnx.RngKey))))
    for _ in range(2):  # a program that nnx.jit has is not taken for the pass
        shift = variance_shift(model, X)
        first, second, third = (norm.geometric_mean for norm in shift.norms)
        assert first == pytest.approx(1, abs=1e-4)
        assert 0.35 < second < 0.6
        assert third < second
    if lift == "scan":
        assert [norm.norm for norm in shift.norms] == [f"links/norm[{i}]" for i in range(3)]
        assert shift.dropout_layers == ("links/drop",)
    else:
        assert shift.dropout_layers == tuple(f"links/link_{i}/drop" for i in range(3))
    after = jax.tree.leaves(nnx.state(model, nnx.Not(nnx.RngKey)))
    jax.tree.map(np.testing.assert_array_equal, after, before)


def test_norms_that_average_over_an_axis():
    shift = variance_shift(Chain(axis_name="devices"), X)
    assert shift.norms[0].geometric_mean == pytest.approx(1, abs=1e-4)
    assert shift.norms[1].geometric_mean < 0.6


@pytest.mark.parametrize("norm", [nnx.BatchNorm, nnx.LayerNorm, nnx.RMSNorm, nnx.GroupNorm])
def test_norms_without_statistics_are_measured_and_normalise_again(norm):
    options = {"num_groups": 4} if norm is nnx.GroupNorm else {}
    rngs = nnx.Rngs(0)
    norms = (norm(WIDTH, rngs=rngs, **options) for _ in range(2))
    shift = variance_shift(nnx.Sequential(nnx.Dropout(0.5, rngs=rngs), *norms), X)
    first, second = (norm.geometric_mean for norm in shift.norms)
    assert first == pytest.approx(0.5, abs=0.05)
    assert second == pytest.approx(0.5 if norm is nnx.BatchNorm else 1, abs=0.1)


@pytest.mark.parametrize("norm", [nnx.LayerNorm, nnx.GroupNorm])
def test_norms_without_statistics_are_measured_in_a_scan(norm):
    options = {"num_groups": 4} if norm is nnx.GroupNorm else {}
    shift = variance_shift(Chain("scan", norm, **options), X)
    assert [norm.norm for norm in shift.norms] == [f"links/norm[{i}]" for i in range(3)]
    sizes = [norm.geometric_mean for norm in shift.norms]
    assert sizes[0] == pytest.approx(1, abs=1e-4)
    assert max(sizes[1:]) < 0.6


def test_norms_without_statistics_count_only_where_there_are_no_others():
    rngs = nnx.Rngs(0)
    model = nnx.Sequential(
        nnx.Dropout(0.5, rngs=rngs),
        nnx.LayerNorm(WIDTH, rngs=rngs),
        nnx.BatchNorm(WIDTH, rngs=rngs),
    )
    shift = variance_shift(model, X)
    assert [norm.renormalises for norm in shift.norms] == [True, False]
    assert shift.mean_abs_log_ratio == shift.norms[1].abs_log_ratio < shift.norms[0].abs_log_ratio
    [advice] = advise(nnx.Sequential(model.layers[1]), X, Placement.parse("layers/0:in=0.5"))
    assert advice.move_to is None
    assert "layers/0 most" in str(advice)
    assert "may stay" in str(advice)


def test_a_slot_behind_the_norm_shifts_it_not():
    class Block(nnx.Module):
        def __init__(self, rngs):
            self.dense = nnx.Linear(WIDTH, WIDTH, rngs=rngs)
            self.norm = nnx.BatchNorm(WIDTH, rngs=rngs)

        def __call__(self, x):
            return self.norm(self.dense(x))

    model = Block(nnx.Rngs(0))
    shifts = {
        slot: variance_shift(model, X, Placement({slot: 0.3})).mean_abs_log_ratio
        for slot in with_slots(model, X).slots
    }
    assert shifts["norm:out"] < 1e-4 < 0.2 < min(shifts["norm:in"], shifts["dense:in"])
    [advice] = advise(model, X, Placement.parse("norm:in=0.3"))
    assert advice.move_to == "norm:out"
    [advice] = advise(model, X, Placement.parse("norm:out=0.3"))
    assert advice.move_to is None
    assert "may stay" in str(advice)


def test_advice_on_dropout_that_is_there_already():
    class Own(nnx.Module):
        def __init__(self, rngs, wrong):
            self.dense, self.norm = (
                nnx.Linear(WIDTH, WIDTH, rngs=rngs),
                nnx.BatchNorm(WIDTH, rngs=rngs),
            )
            self.drop = nnx.Dropout(0.3, rngs=rngs)
            self.head = nnx.Linear(WIDTH, 3, rngs=rngs)
            self.wrong = wrong

        def __call__(self, x):
            x = self.dense(x)
            x = self.norm(self.drop(x)) if self.wrong else self.drop(self.norm(x))
            return self.head(x)

    [wrong] = advise(Own(nnx.Rngs(0), True), X)
    assert (wrong.dropout, wrong.move_to) == ("drop", "head:in")
    [right] = advise(Own(nnx.Rngs(0), False), X)
    assert (right.dropout, right.move_to) == ("drop", None)


def test_dropout_of_the_network_that_is_off_is_not_there():
    class Off(nnx.Module):
        def __init__(self, rngs):
            self.drop, self.norm = nnx.Dropout(0.0, rngs=rngs), nnx.BatchNorm(WIDTH, rngs=rngs)

        def __call__(self, x):
            return self.norm(self.drop(x))

    shift = variance_shift(Off(nnx.Rngs(0)), X)
    assert shift.dropout_layers == ()
    assert shift.mean_abs_log_ratio < 1e-6
    # Without dropout every slot gets an advice, the least shift first.
    found = advise(Off(nnx.Rngs(0)), X)
    assert [advice.dropout for advice in found] == ["norm:out", "norm:in"]


def test_keywords_of_the_call():
    class Asked(nnx.Module):
        def __init__(self, rngs):
            self.drop, self.norm = nnx.Dropout(0.5, rngs=rngs), nnx.BatchNorm(WIDTH, rngs=rngs)

        def __call__(self, x, train):
            x = self.drop(x, deterministic=not train)
            return self.norm(x, use_running_average=not train)

    call = {"training": {"train": True}, "inference": {"train": False}}
    model = Asked(nnx.Rngs(0))
    assert variance_shift(model, X, **call).norms[0].geometric_mean == pytest.approx(0.5, abs=0.05)
    with pytest.raises(ValueError, match="inference: norm norm uses the batch's statistics"):
        variance_shift(model, X, training={"train": True}, inference={"train": True})
    with pytest.raises(ValueError, match=r"options: .*train"):
        variance_shift(model, X)


def test_recalibration_does_not_depend_on_what_was_there():
    first, second = Chain(), Chain()
    for link in (second.links.link_0, second.links.link_2):
        link.norm.var[...] = 7 * link.norm.var[...]
    for model in (first, second):
        recalibrate(model, [X[:100], X[100:]])
        recalibrate(model, [X[:100], X[100:]])
    mean = second.links.link_0.norm.mean[...]
    np.testing.assert_allclose(mean, np.mean(X, axis=0), atol=1e-5)
    for name in ("link_0", "link_2"):
        own, other = (getattr(model.links, name).norm.var[...] for model in (first, second))
        np.testing.assert_allclose(own, other, rtol=1e-5)


def test_another_module_with_statistics_is_refused():
    class Counting(nnx.Module):
        def __init__(self, rngs):
            self.norm, self.count = nnx.BatchNorm(WIDTH, rngs=rngs), nnx.BatchStat(jnp.zeros(()))

        def __call__(self, x):
            self.count[...] = self.count[...] + 1
            return self.norm(x)

    class Outer(nnx.Module):
        def __init__(self, rngs):
            self.inner = Counting(rngs)

        def __call__(self, x):
            return self.inner(x)

    with pytest.raises(ValueError, match=r"^norm inner: must be an nn.BatchNorm"):
        variance_shift(Outer(nnx.Rngs(0)), X)
    with pytest.raises(ValueError, match=r"^norm inner: must be an nn.BatchNorm"):
        recalibrate(Outer(nnx.Rngs(0)), [X])


def test_a_norm_that_is_called_twice_is_refused():
    class Twice(nnx.Module):
        def __init__(self, rngs):
            self.norm = nnx.BatchNorm(WIDTH, rngs=rngs)

        def __call__(self, x):
            return self.norm(self.norm(x))

    with pytest.raises(ValueError, match="norm norm: is called twice"):
        variance_shift(Twice(nnx.Rngs(0)), X)


def test_dropout_that_was_made_without_random_numbers_is_measured():
    class Keyless(nnx.Module):
        def __init__(self, rngs):
            self.dense = nnx.Linear(WIDTH, WIDTH, rngs=rngs)
            self.drop = nnx.Dropout(0.5)
            self.norm = nnx.BatchNorm(WIDTH, rngs=rngs)

        def __call__(self, x):
            return self.norm(self.drop(self.dense(x)))

    shift = variance_shift(Keyless(nnx.Rngs(0)), X, masks=2)
    assert shift.norms[0].geometric_mean == pytest.approx(0.5, abs=0.1)
    assert shift.norms[0].error > 0  # each pass draws a mask of its own


DENSE = nnx.Sequential(nnx.Linear(WIDTH, 3, rngs=nnx.Rngs(0)))
REFUSED = {
    "no norm": (lambda: variance_shift(DENSE, X), "model: must call a norm"),
    "one example": (lambda: variance_shift(Chain(), X[:1]), "batch: must be at least 2"),
    "one mask": (lambda: variance_shift(Chain(), X, masks=1), "masks: must be at least 2"),
    "nan": (lambda: variance_shift(Chain(), X.at[0].set(jnp.nan)), "must be finite"),
    "no slot": (lambda: variance_shift(Chain(), X, Placement({"p6": 0.1})), "placement: 'p6'"),
    "text": (lambda: variance_shift(Chain(), X, "p6=0.1"), "placement: must be a Placement"),
    "no advice": (lambda: advise(Chain(), X, Placement()), "placement: must name a slot"),
    "an array": (lambda: recalibrate(Chain(), X), "batches: must be batches"),
    "nothing": (lambda: recalibrate(Chain(), []), "batches: are none"),
    "no statistics": (lambda: recalibrate(DENSE, [X]), "model: must have an nnx.BatchNorm"),
    "no sample": (lambda: predicted(DENSE, 0), "samples: must be at least 1"),
    "no slot in it": (lambda: predicted(DENSE, 1, Placement()), "placement: must have a slot"),
    "features": (
        lambda: predicted(Features(), 1, Placement({"head:in": 0.5})),
        "model: must return logits",
    ),
}


class Features(nnx.Module):
    def __init__(self):
        self.head = nnx.Linear(WIDTH, 3, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.head(x), x


def predicted(model, samples, placement=Placement.parse("layers/0:in=0.5")):  # noqa: B008
    return mc_predict(model, X, placement, key=jax.random.key(0), samples=samples)


@pytest.mark.parametrize("case", REFUSED)
def test_mistakes_are_told_in_a_line(case):
    call, words = REFUSED[case]
    with pytest.raises(ValueError, match=words) as error:
        call()
    assert "\n" not in str(error.value)


def test_prediction_has_norms_at_inference_and_changes_nothing(unrolled):
    unrolled.nnx.train()
    before = np.asarray(unrolled.nnx.norm.mean[...])
    placement = Placement.parse("p6=0.5")
    found = mc_predict(unrolled.nnx, unrolled.x, placement, key=jax.random.key(0), samples=4)
    np.testing.assert_array_equal(unrolled.nnx.norm.mean[...], before)
    assert unrolled.nnx.norm.use_running_average is False
    alone = mc_predict(unrolled.nnx, unrolled.x[:1], placement, key=jax.random.key(0), samples=4)
    assert alone.probabilities.shape == (1, 3)
    assert (found.mutual_information > 0).all()


LINEN_FUNCTIONS = {
    "variance_shift": lambda model: analysis.variance_shift(model, {}, X),
    "probe": lambda model: analysis.probe(model, {}, X),
    "advise": lambda model: analysis.advise(model, {}, X),
    "recalibrate": lambda model: analysis.recalibrate(model, {}, [X]),
    "mc_predict": lambda model: analysis.mc_predict(
        model, {}, X, Placement({"p6": 0.1}), key=jax.random.key(0), samples=1
    ),
}


@pytest.mark.parametrize("name", LINEN_FUNCTIONS)
def test_functions_for_linen_say_where_nnx_goes(name):
    with pytest.raises(ValueError, match=r"got the NNX module Chain; use flaxdrop.nnx$"):
        LINEN_FUNCTIONS[name](Chain())
    with pytest.raises(ValueError, match=r"^model: must be a flax.linen.Module, got function$"):
        LINEN_FUNCTIONS[name](lambda x: x)


def test_functions_for_nnx_say_where_linen_goes(unrolled):
    for call in (variance_shift, advise):
        with pytest.raises(ValueError, match=r"Linen module LinenNetwork; use .*flaxdrop.analysis"):
            call(unrolled.linen, X)
    with pytest.raises(ValueError, match="Linen module"):
        recalibrate(unrolled.linen, [X])
