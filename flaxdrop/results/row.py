"""A row of the ledger: one finished cell, as a line of strict JSON.

A number that is not finite is `null` in the file and NaN in memory. Schema 4, field by field:

| field | JSON type | meaning |
|---|---|---|
| schema | integer | version of this table, 4 |
| study | string | name of the study, e.g. `preresnet` |
| config | object | the run's whole configuration |
| config_hash | string | `provenance.config_hash(config)`, 12 hex digits |
| numerics | integer | version of what a seed draws (`flaxdrop.training.content.NUMERICS`) |
| data | string | digest of the whole dataset's content, hex |
| weights | string | digest of the pretrained weights, hex; empty: none were used |
| variant | string | row of the study's table, e.g. `p6` |
| placement | string | slots and rates, e.g. `p6=0.1`; `none` when there is no dropout |
| seed | integer | seed of the cell |
| status | string | `finished`, or `diverged` when the network stopped being finite |
| best_accuracy | number, null | highest test accuracy over the epochs, fraction in [0, 1] |
| best_epoch | integer, null | epoch of it, from 1; the smallest one on ties |
| last_accuracy | number, null | test accuracy after the last epoch, fraction in [0, 1] |
| last_nll | number, null | mean negative log-likelihood on the test set, last epoch, nats |
| last_ece | number, null | expected calibration error on the test set, last epoch, in [0, 1] |
| chance | number, null | accuracy that guessing stays within (`statistics.chance_level`) |
| curve | object | lists of one number (or null) an epoch, all of one length: |
| curve.train_loss | list | mean training loss of the epoch, with its dropout, nats |
| curve.train_accuracy | list | training accuracy of the epoch, with its dropout, in [0, 1] |
| curve.test_accuracy | list | accuracy on the whole test set, in [0, 1] |
| curve.test_nll | list | mean negative log-likelihood on the whole test set, nats |
| curve.test_ece | list | expected calibration error on the whole test set, in [0, 1] |
| right | list | which test examples were right in the last epochs (`right.pack_right`) |
| train_examples | integer | that the cell was trained on; 0: not recorded |
| test_examples | integer | of the test set; 0: not recorded |
| measured | object | what the study measures of the trained network: name to number or null |
| digest | string | `provenance.digest` of final parameters and batch statistics, SHA-256, hex |
| parameters | integer | number of trainable parameters |
| device_kind | string | as JAX names it, e.g. `NVIDIA H100 80GB HBM3` |
| platform | string | `cpu`, `gpu` or `tpu` |
| precision | string | of products on accelerators; `bfloat16`: of activations too |
| versions | object | `provenance.versions()`: package name to version |
| git_revision | string | of the code that finished it: hash, `-dirty` added, or `unknown` |
| wall_seconds | number, null | time the cell took without compilation, s |
| compile_seconds | number, null | compilation before the cell's first step, s |
| images_per_second | number, null | training images a second of this cell |
| finished_at | string | ISO 8601, UTC |
| row_digest | string | SHA-256 of the line without it, hex: a row that was edited does not fit it |

A field is added, removed or redefined only together with a new schema number. Schema 1 lacked
`measured`: its rows are read as having measured nothing. Schema 2 lacked `numerics`, `data`,
`weights`, `chance`, `right` and the numbers of examples: its rows are read as numerics 0, from
before versions were counted, with the others unknown. Schema 3 lacked `row_digest`. Config,
numerics, data and weights are the content of a cell: what differs in any of them is another cell,
and in no table with this one.

The fields of a line are in the order of their names, so that `row_digest` is of the line's own
bytes and need not be written anew to be checked. Up to 0.2.0 they were not; their digests are the
same.
"""

import dataclasses
import functools
import hashlib
import json
import math
from array import array
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from flaxdrop.results.plain import CURVES, plain
from flaxdrop.results.right import unpack_right
from flaxdrop.results.row_checks import check
from flaxdrop.training.content import Content

SCHEMA = 4
_DIGEST = "row_digest"


# Schema -> the fields that came after it, as its rows are read.
_LATER: dict[int, dict[str, Any]] = {
    1: {"measured": {}},
    2: {
        "numerics": 0,
        "data": "",
        "weights": "",
        "chance": None,
        "right": [],
        "train_examples": 0,
        "test_examples": 0,
    },
    3: {},
}


class NewerSchemaError(ValueError):
    """A row that a newer flaxdrop wrote."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Row:
    """One finished cell; fields and units in the table of this module.

    Values are made plain on construction (scalars of NumPy and JAX to Python's, tuples to lists,
    curves to arrays, None and infinities of a float field to NaN), so that
    `Row.from_json(row.to_json()) == row`. Rows of one config share it: do not change it.

    Raises:
      ValueError: a value of the wrong type or out of range, a curve missing or of another length.
    """

    schema: int = SCHEMA
    study: str
    config: dict[str, Any]
    config_hash: str
    numerics: int
    data: str
    weights: str
    variant: str
    placement: str
    seed: int
    status: str
    best_accuracy: float
    best_epoch: int | None
    last_accuracy: float
    last_nll: float
    last_ece: float
    chance: float
    curve: dict[str, "array[float]"]
    right: list[str]
    train_examples: int
    test_examples: int
    measured: dict[str, float]
    digest: str
    parameters: int
    device_kind: str
    platform: str
    precision: str
    versions: dict[str, str]
    git_revision: str
    wall_seconds: float
    compile_seconds: float
    images_per_second: float
    finished_at: str

    def __post_init__(self) -> None:
        for name, make_plain in _fields():
            object.__setattr__(self, name, make_plain(getattr(self, name)))
        if self.schema != SCHEMA:
            raise ValueError(f"schema: {self.schema}, must be {SCHEMA}")
        check(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and self.to_json() == other.to_json()

    @property
    def content(self) -> Content:
        """What its cell is, but for the variant and the seed."""
        return Content(self.config_hash, self.numerics, self.data, self.weights)

    def judged(self, curve: str) -> float:
        """Mean of a curve over the judged epochs, the last ones: as many as `right` has.

        Args:
          curve: of `CURVES`.
        """
        return float(np.mean(self.curve[curve][-max(1, len(self.right)) :]))

    @property
    def right_examples(self) -> np.ndarray:
        """Which test examples were right in the last epochs, bool `[epochs, test examples]`."""
        if not self.right:
            return np.zeros((0, self.test_examples), bool)
        packed = [
            np.frombuffer(unpack_right(line, self.test_examples), np.uint8) for line in self.right
        ]
        return np.unpackbits(np.stack(packed), axis=1, count=self.test_examples).astype(bool)

    @property
    def at_chance(self) -> bool:
        """It is finished, and after the last epoch no better than guessing, as far as is known."""
        # Accuracies are rounded to single precision.
        return self.status == "finished" and self.last_accuracy <= self.chance + 1e-6

    def to_json(self) -> str:
        """One line of strict JSON without its newline."""
        fields = {name: getattr(self, name) for name, _ in _fields()}
        for name, value in fields.items():
            if isinstance(value, float):
                fields[name] = _null(value)
        fields["curve"] = {name: [_null(v) for v in self.curve[name]] for name in CURVES}
        fields["measured"] = {name: _null(value) for name, value in self.measured.items()}
        return _canonical({**fields, _DIGEST: _sha256(_canonical(fields))})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The row of one line.

        Raises:
          ValueError: not JSON, a field missing or unknown, or as `Row` does.
          NewerSchemaError: the row's schema is newer than this module's.
        """
        try:
            fields = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from None
        except RecursionError:
            raise ValueError("not JSON of a row: it is nested too deeply") from None
        if not isinstance(fields, dict):
            raise ValueError(f"a {type(fields).__name__}, must be a JSON object")
        schema = fields.get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            # The fields of a newer row are not ours to judge.
            raise NewerSchemaError(
                f"schema: {schema} is newer than {SCHEMA}, the newest that this flaxdrop reads: "
                "update flaxdrop"
            )
        if not isinstance(schema, int) or isinstance(schema, bool):
            raise ValueError(f"schema: must be an integer, got {schema!r}")
        if schema in _LATER:
            later = [added for version, added in _LATER.items() if version >= schema]
            if _DIGEST in fields:
                raise ValueError(f"schema: {schema}, whose rows have no {_DIGEST}")
            fields = {k: v for added in later for k, v in added.items()} | fields
            fields |= {"schema": SCHEMA, _DIGEST: None}
        if fields.keys() != _names():
            names = ", ".join(sorted(fields.keys() ^ _names()))
            raise ValueError(f"fields missing or unknown: {names}")
        digest = fields.pop(_DIGEST)
        if schema == SCHEMA and not (
            digest == _sha256(text.strip().replace(f'"{_DIGEST}": "{digest}", ', "", 1))
            or digest == _sha256(_canonical(fields))  # other orders and spaces are no edit
        ):
            raise ValueError(f"{_DIGEST}: must be that of the row, which was edited")
        return cls(**fields)


@functools.cache
def _fields() -> list[tuple[str, Callable[[Any], Any]]]:
    """The fields of a row, and what makes their values plain."""
    return [(field.name, plain(field.name, field.type)) for field in dataclasses.fields(Row)]


@functools.cache
def _names() -> set[str]:
    """The fields of a line."""
    return {name for name, _ in _fields()} | {_DIGEST}


def _canonical(fields: dict[str, Any]) -> str:
    return json.dumps(fields, sort_keys=True, allow_nan=False)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _null(value: float) -> float | None:
    return None if math.isnan(value) else value
