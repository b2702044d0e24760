"""Everything in the catalog keeps its promises, the layers once per engine; a new layer adds its lines to one table."""

import itertools

import numpy as np
import pytest

from simulator import Catalog, ExplicitPattern
from simulator.testing import check_architecture, check_engine, check_loss, check_optimizer, layer_checks

CATALOG = Catalog()

ANY = ExplicitPattern(
    [3, 0, 3, 3, 1, 5], [1, 3, 1, 0, 2, 3], [0, 2, 1, 0, 1, 2], shape=(6, 4)
)  # a repeated cell, empty rows
TABLE = ((0, 2), (1,), (2, 1, 0))

# Name in the catalog, arguments, options, shapes of the inputs.
LAYERS = [
    ("conv", (2, 3), {}, [(1, 5)]),
    ("conv", (2, 4), {"stride": 3, "padding": [(0, 2)], "bias": "unit"}, [(3, 7)]),
    ("conv", (2, 3), {"padding": 1}, [(2, 5, 4)]),
    ("conv", (2, 5), {"padding": 2, "flip": True, "bias": False}, [(1, 5, 6)]),
    ("conv", (3, (2, 3)), {"stride": (2, 1), "dilation": (1, 2), "padding": (1, 2)}, [(2, 5, 6)]),
    ("conv", (4, 3), {"padding": [(0, 2), (1, 0)], "groups": 2, "bias": "unit"}, [(4, 4, 5)]),
    ("conv", (4, 2), {"groups": 2, "padding": 1, "pad_value": -1.5}, [(2, 3, 3)]),
    ("conv", (6, 3), {"groups": 3, "padding": "same"}, [(3, 4, 4)]),
    ("conv", (2, 4), {"padding": "same_lower", "pad_value": 0.5}, [(1, 5, 5)]),
    ("conv", (2, 4), {"padding": "same_upper", "stride": 2}, [(1, 5, 5)]),
    ("conv", (3, 2), {"table": TABLE}, [(3, 4, 4)]),
    ("conv", (3, 3), {"table": TABLE, "flip": True, "padding": 1, "pad_value": 2.0}, [(3, 3, 3)]),
    ("conv", (2, 3), {"padding": 2, "padding_mode": "circular"}, [(1, 2, 3)]),
    ("conv", (2, 3), {"padding": 2, "padding_mode": "reflect"}, [(2, 3, 4)]),
    ("conv", (2, 3), {"padding": (1, 3), "padding_mode": "replicate", "stride": 2}, [(1, 2, 3)]),
    ("conv", (1, 1), {"stride": 2}, [(2, 4, 5)]),
    ("conv", (2, 4), {"init": "glorot"}, [(2, 4, 4)]),
    ("conv", (2, 3), {"padding": 1}, [(1, 1, 1)]),
    ("conv", (2, 2), {"stride": 2, "padding": (0, 1, 1)}, [(2, 4, 3, 4)]),
    ("conv", (2, (1, 2, 3)), {"dilation": (1, 2, 1), "padding": 1, "pad_value": 1.0}, [(1, 2, 3, 3)]),
    ("conv", (4, 2), {"groups": 4, "padding": 1, "padding_mode": "circular"}, [(4, 2, 2, 2)]),
    ("conv-transpose", (2, 3), {}, [(1, 4)]),
    ("conv-transpose", (2, 3), {"stride": 2, "padding": 1, "output_padding": 1}, [(3, 3, 3)]),
    ("conv-transpose", (4, (2, 3)), {"stride": (3, 1), "dilation": 2, "groups": 2}, [(2, 2, 3)]),
    ("conv-transpose", (1, 2), {"dilation": 3, "output_padding": 2, "bias": "unit"}, [(2, 2, 3)]),
    ("conv-transpose", (2, 3), {"padding": [(0, 1), (2, 0)], "bias": False}, [(2, 4, 4)]),
    ("conv-transpose", (2, 2), {"stride": 2, "output_padding": (0, 1, 0)}, [(1, 2, 2, 3)]),
    ("locally-connected", (2, 3), {"stride": 2}, [(2, 7)]),
    ("locally-connected", (2, 3), {"padding": 1, "bias": True}, [(1, 4, 4)]),
    ("locally-connected", (4, 2), {"groups": 2, "padding": 1, "pad_value": 0.5}, [(2, 3, 3)]),
    ("locally-connected", (2, 3), {"padding": 1, "padding_mode": "circular"}, [(1, 2, 3)]),
    ("locally-connected", (1, 2), {"dilation": 2, "bias": False}, [(2, 3, 4, 3)]),
    ("average-pool", (2,), {}, [(2, 6)]),
    ("average-pool", (3,), {"stride": 2, "padding": 1}, [(2, 5, 6)]),
    ("average-pool", (3,), {"stride": 2, "padding": 1, "count_include_pad": False}, [(2, 5, 6)]),
    ("average-pool", (3,), {"stride": 2, "padding": 1, "ceil": True}, [(1, 6, 6)]),
    ("average-pool", (2,), {"stride": 3, "ceil": True, "count_include_pad": False}, [(1, 5, 8)]),
    ("average-pool", (2,), {"dilation": (2, 1), "stride": 1, "padding": [(1, 0), (0, 1)]}, [(2, 4, 4)]),
    ("average-pool", ("global",), {}, [(3, 4, 5)]),
    ("average-pool", (2,), {"padding": "same"}, [(1, 3, 3, 4)]),
    ("subsample", (2,), {}, [(2, 6)]),
    ("subsample", (2,), {}, [(3, 4, 6)]),
    ("subsample", (3,), {"stride": 2, "padding": 1, "ceil": True, "bias": "unit"}, [(2, 4, 5)]),
    ("subsample", (2,), {"dilation": 2, "stride": 1, "bias": False}, [(2, 3, 3, 4)]),
    ("subsample", ("global",), {}, [(2, 3, 3)]),
    ("max-pool", (2,), {}, [(2, 7)]),
    ("max-pool", (2,), {}, [(2, 4, 6)]),
    ("max-pool", (3,), {"stride": 2, "padding": 1, "ceil": True}, [(2, 6, 5)]),
    ("max-pool", ((2, 3),), {"stride": 1, "dilation": (2, 1), "padding": [(1, 0), (0, 2)]}, [(1, 4, 4)]),
    ("max-pool", ("global",), {}, [(3, 4, 5)]),
    ("max-pool", (2,), {"padding": "same_lower"}, [(1, 3, 4, 3)]),
    ("dense", (3,), {}, [(5,)]),
    ("dense", (4,), {"bias": False, "init": "lecun"}, [(2, 3, 2)]),
    ("dense", (1,), {"bias": "unit", "init": "zeros"}, [(1, 1)]),
    ("sparse", (ANY,), {}, [(4,)]),
    ("sparse", (ANY,), {"shape": (2, 3), "bias": True}, [(2, 2)]),
    ("sparse", (ANY.T,), {"bias": "unit"}, [(1, 2, 3)]),
    ("relu", (), {}, [(3, 4, 4)]),
    ("leaky-relu", (), {}, [(5,)]),
    ("leaky-relu", (0.3,), {}, [(2, 3, 3)]),
    ("sigmoid", (), {}, [(3, 4)]),
    ("tanh", (), {}, [(3, 4)]),
    ("scaled-tanh", (), {}, [(3, 4, 4)]),
    ("softmax", (), {}, [(4,)]),
    ("softmax", (), {}, [(3, 2, 4)]),
    ("log-softmax", (), {}, [(4,)]),
    ("log-softmax", (), {}, [(3, 2, 4)]),
    ("flatten", (), {}, [(2, 3, 4)]),
    ("flatten", (), {}, [(3,)]),
    ("reshape", ((4, -1),), {}, [(2, 2, 3)]),
    ("reshape", ((6,),), {}, [(2, 3)]),
    ("pad", (2,), {}, [(2, 3)]),
    ("pad", ([(0, 2), (1, 0)],), {"pad_value": -0.5}, [(2, 3, 2)]),
    ("pad", ((1, 2),), {"mode": "circular"}, [(2, 2, 3)]),
    ("pad", (2,), {"mode": "reflect"}, [(1, 3, 4)]),
    ("pad", (2,), {"mode": "replicate"}, [(1, 2, 1, 3)]),
    ("add", (), {}, [(2, 3, 3)] * 2),
    ("add", (), {}, [(4,)] * 3),
    ("concatenate", (), {}, [(2, 3, 3), (1, 3, 3)]),
    ("concatenate", (), {}, [(2,), (3,), (1,)]),
    ("rbf", (("##.", ".#."),), {}, [(3,)]),
]  # fmt: skip

PREDICTIONS = np.random.default_rng(0).standard_normal((4, 3))
LOSSES = [
    ("cross-entropy", {}, PREDICTIONS, np.array([2, 0, 0, 1])),
    ("squared-error", {}, PREDICTIONS, np.array([2, 0, 0, 1])),
    ("squared-error", {}, PREDICTIONS, -(PREDICTIONS**2)),
    ("squared-error", {}, PREDICTIONS.reshape(2, 1, 3, 2), np.ones((2, 1, 3, 2))),
]

OPTIMIZERS = [
    ("sgd", {}),
    ("sgd", {"lr": lambda step: 0.5 / (1 + step), "weight_decay": 0.1}),
    ("momentum", {}),
    ("momentum", {"lr": 0.05, "momentum": 0.5, "weight_decay": 0.01}),
]


def layer_cases():
    for engine, (name, arguments, options, shapes) in itertools.product(CATALOG.engines, LAYERS):
        layer = CATALOG.make(name, *arguments, **options)
        given = ", ".join([*map(str, arguments), *(f"{key}={value}" for key, value in options.items())])
        for promise, check in layer_checks(layer, *shapes, engine=CATALOG.engines[engine]()):
            yield pytest.param(check, id=f"{engine}: {name}({given}) on {shapes}: {promise}")


@pytest.mark.parametrize("check", list(layer_cases()))
def test_layer(check):
    reason = check()
    if reason:
        pytest.skip(reason)


@pytest.mark.parametrize(("name", "options", "prediction", "target"), LOSSES)
def test_loss(name, options, prediction, target):
    check_loss(CATALOG.losses[name](**options), prediction, target)


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_optimizer(name, options):
    check_optimizer(CATALOG.optimizers[name](**options))


@pytest.mark.parametrize("name", CATALOG.engines)
def test_engine(name):
    check_engine(CATALOG.engines[name]())


@pytest.mark.parametrize("name", CATALOG.architectures)
def test_architecture(name):
    check_architecture(CATALOG, name)


@pytest.mark.parametrize(("shelf", "table"), [("layers", LAYERS), ("losses", LOSSES), ("optimizers", OPTIMIZERS)])
def test_the_tables_know_everything_in_the_catalog(shelf, table):
    assert {row[0] for row in table} == set(getattr(CATALOG, shelf)), f"add a line to the table of {shelf}"
