"""The head study declares every place at every rate, and measures the variance of the logits."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.harness.command import execute
from benchmarks.harness.variants import families
from benchmarks.head import STUDY, VARIANCE, HeadSettings, variants
from flaxdrop.analysis.logits import logit_variance
from flaxdrop.models import PreResNet
from flaxdrop.placement import Placement
from flaxdrop.results.ledger import read

SHORT = ["--config=configs/head_digits.py", "--config.epochs=1", "--config.train_examples=50"]
SHORT += ["--config.test_examples=50", "--config.seeds=1", "--config.rates=0.5"]
SHORT += ["--config.widths=(4,)", "--config.depth=4", "--config.batch=25"]


@pytest.mark.parametrize(("network", "depth"), [("preresnet", 8), ("densenet", 10)])
def test_every_place_stands_at_every_rate(network: str, depth: int) -> None:
    settings = HeadSettings(
        dataset="digits", epochs=1, batch=1, network=network, depth=depth, rates=(0.1, 0.5)
    )
    names = list(variants(settings, classes=10))
    [one_network] = families(variants(settings, classes=10))  # refuses a slot that a network lacks
    assert sorted(one_network.placements) == sorted(names)
    assert names[0] == "none"
    assert len(names) == 1 + 4 * 2
    both = variants(settings, classes=10)["h4 + h5 0.5"].placement
    assert dict(both.rates) == {"h4": 0.5, "h5": 0.5}


@pytest.mark.parametrize(
    ("field", "value"),
    [("network", "vgg"), ("rates", (1.5,)), ("widths", (0,)), ("growth", 0), ("depth", 9)],
)
def test_a_field_out_of_range_is_named(field: str, value: object) -> None:
    right = {"dataset": "digits", "epochs": 1, "batch": 1, "depth": 8}
    with pytest.raises(ValueError, match=field):
        HeadSettings(**{**right, field: value})  # type: ignore[arg-type]


def test_it_runs_to_its_end(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert execute(STUDY, ["head", *SHORT, f"--workdir={folder}"]) == 0
    assert "variance of the logits" in capsys.readouterr().out
    rows = re.findall(r"^\| (.+?) \| 1 \| .* \| (\S+) \|", (folder / "head.md").read_text(), re.M)
    found = {variant: float(variance) for variant, variance in rows}
    assert found.pop("none") == 0
    assert len(found) == 4
    assert min(found.values()) > 0
    measured = {row.variant: row.measured[VARIANCE] for row in read(folder / "ledger.jsonl")[0]}
    assert {name: f"{measured[name]:.4f}" for name in found} == {
        name: f"{value:.4f}" for name, value in found.items()
    }


def test_the_variance_of_a_dropout_on_the_logits_has_its_closed_form() -> None:
    """It is z^2 p / (1 - p); with 4000 masks its mean is within 5 % but for chances below 1e-6."""
    model = PreResNet(depth=4, num_classes=10, widths=(4,))
    x = jnp.asarray(np.random.RandomState(0).randn(4, 8, 8, 3), jnp.float32)
    variables = jax.jit(model.init)(jax.random.key(1), x)
    rate = 0.3
    measured = logit_variance(
        model, variables, x, Placement({"logits": rate}), key=jax.random.key(2), masks=4000
    )
    expected = (model.apply(variables, x) ** 2).mean() * rate / (1 - rate)
    assert measured == pytest.approx(float(expected), rel=0.05)
    with pytest.raises(ValueError, match="masks"):
        logit_variance(model, variables, x, Placement(), key=jax.random.key(2), masks=1)
