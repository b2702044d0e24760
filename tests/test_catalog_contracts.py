"""Everything in the catalog keeps its promises, the layers once per engine; a new layer adds its lines to one table."""

import numpy as np
import pytest

from simulator import Catalog, ExplicitPattern, MatrixLayer
from simulator.testing import check_engine, check_loss, check_optimizer, layer_checks, plugin_checks

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
    ("adaptive-average-pool", (3,), {}, [(2, 7)]),
    ("adaptive-average-pool", (2,), {}, [(2, 4, 5)]),
    ("adaptive-average-pool", ((3, 1, 2),), {}, [(1, 2, 3, 2)]),
    ("max-pool", (2,), {}, [(2, 7)]),
    ("max-pool", (2,), {}, [(2, 4, 6)]),
    ("max-pool", (3,), {"stride": 2, "padding": 1, "ceil": True}, [(2, 6, 5)]),
    ("max-pool", ((2, 3),), {"stride": 1, "dilation": (2, 1), "padding": [(1, 0), (0, 2)]}, [(1, 4, 4)]),
    ("max-pool", ("global",), {}, [(3, 4, 5)]),
    ("max-pool", (2,), {"padding": "same_lower"}, [(1, 3, 4, 3)]),
    ("dense", (3,), {}, [(5,)]),
    ("dense", (4,), {"bias": False, "init": "lecun"}, [(2, 3, 2)]),
    ("dense", (1,), {"bias": "unit", "init": "zeros"}, [(1, 1)]),
    ("dense", ((2, 3),), {}, [(5,)]),
    ("dense", ((2, 2, 3),), {"bias": "unit"}, [(1, 2, 2)]),
    ("sparse", (ANY,), {}, [(4,)]),
    ("sparse", (ANY,), {"shape": (2, 3), "bias": True}, [(2, 2)]),
    ("sparse", (ANY.T,), {"bias": "unit"}, [(1, 2, 3)]),
    ("relu", (), {}, [(3, 4, 4)]),
    ("leaky-relu", (), {}, [(5,)]),
    ("leaky-relu", (0.3,), {}, [(2, 3, 3)]),
    ("sigmoid", (), {}, [(3, 4)]),
    ("tanh", (), {}, [(3, 4)]),
    ("scaled-tanh", (), {}, [(3, 4, 4)]),
    ("standardise", (), {}, [(4,)]),
    ("standardise", (), {}, [(3, 2, 4)]),
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
    ("add", (), {}, [(2, 3, 2), (2, 1, 1)]),
    ("add", (), {}, [(1, 3), (2, 1), (2, 3)]),
    ("concatenate", (), {}, [(2, 3, 3), (1, 3, 3)]),
    ("concatenate", (), {}, [(2,), (3,), (1,)]),
    ("depthwise-conv", (3,), {}, [(2, 5)]),
    ("depthwise-conv", (2,), {"multiplier": 3, "stride": 2, "padding": 1, "pad_value": -0.5}, [(2, 4, 5)]),
    ("depthwise-conv", ((2, 3),), {"dilation": (1, 2), "padding": 2, "padding_mode": "reflect"}, [(2, 3, 4)]),
    ("depthwise-conv", (3,), {"padding": "same", "bias": "unit"}, [(3, 3, 4)]),
    ("depthwise-conv", (2,), {"padding": ((0, 1), (1, 0), (0, 0)), "bias": False}, [(2, 2, 3, 2)]),
    ("separable-conv", (3, 3), {}, [(2, 5)]),
    ("separable-conv", (3, 3), {"padding": 1}, [(2, 4, 5)]),
    ("separable-conv", (2, (2, 3)), {"multiplier": 2, "stride": 2, "dilation": (1, 2), "bias": False}, [(2, 4, 6)]),
    ("separable-conv", (2, 2), {"padding": "same", "init": "glorot"}, [(1, 2, 3, 2)]),
    ("upsample", (2,), {}, [(2, 3)]),
    ("upsample", ((3, 2),), {}, [(2, 2, 3)]),
    ("upsample", (3, "bilinear"), {}, [(2, 3)]),
    ("upsample", ((2, 3), "bilinear"), {}, [(2, 3, 2)]),
    ("upsample", (3, "bilinear", True), {}, [(1, 3, 1)]),
    ("upsample", (), {"size": (5, 2), "mode": "bilinear"}, [(2, 3, 4)]),
    ("upsample", (2, "bilinear"), {"align_corners": True}, [(1, 2, 3, 2)]),
    ("crop", (1,), {}, [(2, 4)]),
    ("crop", (((0, 1), (2, 0)),), {}, [(2, 3, 4)]),
    ("crop", ((0, 1, 1),), {}, [(1, 2, 3, 3)]),
    ("slice", (1, 3), {}, [(4,)]),
    ("slice", (-1, None, -2), {}, [(4, 2, 2)]),
    ("slice", (1,), {"axis": -1, "step": 2}, [(2, 3, 4)]),
    ("channel-shuffle", (2,), {}, [(6,)]),
    ("channel-shuffle", (3,), {}, [(6, 2, 2)]),
    ("depth-to-space", (2,), {}, [(4, 3)]),
    ("depth-to-space", ((2, 3),), {}, [(12, 2, 1)]),
    ("depth-to-space", (2,), {"mode": "dcr"}, [(8, 1, 2, 2)]),
    ("space-to-depth", (3,), {}, [(2, 6)]),
    ("space-to-depth", ((2, 1),), {"mode": "dcr"}, [(2, 4, 3)]),
    ("space-to-depth", (2,), {}, [(1, 2, 4, 2)]),
    ("transpose", ((0,),), {}, [(4,)]),
    ("transpose", ((1, 2, 0),), {}, [(2, 3, 4)]),
    ("transpose", ((-1, 0, 2, 1),), {}, [(2, 1, 3, 2)]),
    ("rbf", (("##.", ".#."),), {}, [(3,)]),
    ("identity-shortcut", (5,), {}, [(2, 5, 4)]),
    ("identity-shortcut", (3,), {"stride": (1, 3)}, [(3, 2, 4)]),
    ("elu", (0.5,), {}, [(3, 4)]),
    ("selu", (), {}, [(2, 3, 3)]),
    ("gelu", (), {}, [(3, 4)]),
    ("gelu", ("tanh",), {}, [(3, 4)]),
    ("silu", (), {}, [(3, 4)]),
    ("mish", (), {}, [(3, 4)]),
    ("softplus", (2.5,), {}, [(3, 4)]),
    ("hard-sigmoid", (), {}, [(3, 4)]),
    ("hard-tanh", (-0.5, 0.25), {}, [(2, 3, 3)]),
    ("relu6", (), {}, [(3, 4)]),
    ("hard-swish", (), {}, [(3, 4)]),
    ("prelu", (), {}, [(3, 4, 2)]),
    ("prelu", (0.1,), {"per_channel": False}, [(5,)]),
    ("dropout", (), {}, [(3, 4)]),
    ("dropout", (0.3,), {"inverted": False}, [(2, 3, 3)]),
    ("multiply", (), {}, [(2, 3)] * 2),
    ("multiply", (), {}, [(2, 3, 2)] * 3),
    ("multiply", (), {}, [(2, 3, 2), (2, 1, 1)]),
    ("multiply", (), {}, [(1, 3), (2, 1), (2, 3)]),
    ("lp-pool", (2,), {}, [(2, 5)]),
    ("lp-pool", (3, 3.0), {"stride": 2, "padding": 1, "ceil": True}, [(2, 6, 5)]),
    ("lp-pool", ((2, 3), 1.0), {"stride": 1, "dilation": (2, 1), "padding": [(1, 0), (0, 2)]}, [(1, 4, 4)]),
    ("lp-pool", (2, 1.5), {"padding": "same"}, [(1, 3, 3, 4)]),
    ("stochastic-pool", (2,), {}, [(2, 7)]),
    ("stochastic-pool", (3,), {"stride": 2, "ceil": True}, [(2, 6, 5)]),
    ("stochastic-pool", ((1, 2, 2),), {"stride": 1}, [(1, 2, 3, 3)]),
    ("batch-norm", (), {}, [(4,)]),
    ("batch-norm", (), {"momentum": 0.5, "epsilon": 0.1}, [(3, 5)]),
    ("batch-norm", (), {}, [(2, 3, 4)]),
    ("batch-norm", (), {"momentum": 1.0}, [(2, 2, 1, 3)]),
    ("batch-norm", (), {"frozen": True}, [(3, 2, 2)]),
    ("local-response-norm", (), {}, [(4,)]),
    ("local-response-norm", (4,), {"alpha": 2.0}, [(6, 3)]),
    ("local-response-norm", (3,), {"alpha": 0.7, "beta": 0.5, "k": 2.0}, [(5, 2, 3)]),
    ("group-norm", (2,), {}, [(4,)]),
    ("group-norm", (1,), {"epsilon": 0.1}, [(3, 4)]),
    ("group-norm", (3,), {}, [(6, 2, 3)]),
    ("layer-norm", (), {}, [(5,)]),
    ("layer-norm", (), {"epsilon": 0.1}, [(2, 3, 2)]),
    ("instance-norm", (), {}, [(3, 4)]),
    ("instance-norm", (), {"affine": True, "epsilon": 0.1}, [(2, 3, 2)]),
    ("gaussian-sample", (), {}, [(4,)]),
    ("gaussian-sample", (), {}, [(6, 2, 3)]),
]  # fmt: skip

PREDICTIONS = np.random.default_rng(0).standard_normal((4, 3))
LOSSES = [
    ("cross-entropy", {}, PREDICTIONS, np.array([2, 0, 0, 1])),
    ("squared-error", {}, PREDICTIONS, np.array([2, 0, 0, 1])),
    ("squared-error", {}, PREDICTIONS, -(PREDICTIONS**2)),
    ("cross-entropy", {"label_smoothing": 0.1}, PREDICTIONS, np.array([2, 0, 0, 1])),
    ("squared-error", {}, PREDICTIONS.reshape(2, 1, 3, 2), np.ones((2, 1, 3, 2))),
    ("binary-cross-entropy", {}, PREDICTIONS, np.array([2, 0, 0, 1])),
    ("binary-cross-entropy", {}, PREDICTIONS.reshape(2, 1, 3, 2), np.linspace(0, 1, 12).reshape(2, 1, 3, 2)),
    ("huber", {"delta": 0.5}, PREDICTIONS, np.array([2, 0, 0, 1])),
    ("absolute-error", {}, PREDICTIONS, np.array([2, 0, 0, 1])),
    ("absolute-error", {}, PREDICTIONS.reshape(2, 1, 3, 2), np.ones((2, 1, 3, 2))),
    ("hinge", {}, PREDICTIONS, np.array([2, 0, 0, 1])),
    ("hinge", {"margin": 2.0, "p": 2}, PREDICTIONS, np.array([2, 0, 0, 1])),
    ("gaussian-kl", {}, PREDICTIONS.reshape(3, 2, 2), np.zeros(3)),
    ("maximum-a-posteriori", {}, PREDICTIONS, np.array([2, 0, 0, 1])),
]

OPTIMIZERS = [
    ("sgd", {}),
    ("sgd", {"lr": lambda step: 0.5 / (1 + step), "weight_decay": 0.1}),
    ("momentum", {}),
    ("momentum", {"lr": 0.05, "momentum": 0.5, "weight_decay": 0.01}),
    ("nesterov", {}),
    ("nesterov", {"lr": 0.05, "momentum": 0.5, "weight_decay": 0.01}),
    ("adagrad", {}),
    ("adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.01, "initial_accumulator_value": 0.5}),
    ("rmsprop", {}),
    ("rmsprop", {"alpha": 0.5, "momentum": 0.5, "weight_decay": 0.01, "centered": True}),
    ("adam", {}),
    ("adam", {"lr": 0.05, "betas": (0.5, 0.8), "weight_decay": 0.01, "amsgrad": True}),
    ("adamw", {}),
    ("adamw", {"lr": 0.05, "betas": (0.5, 0.8), "weight_decay": 0.1, "amsgrad": True}),
]


ENGINES = list(CATALOG.engines)


def layer_cases():
    for name, arguments, options, shapes in LAYERS:
        given = ", ".join([*map(str, arguments), *(f"{key}={value}" for key, value in options.items())])
        yield f"{name}({given}) on {shapes}", CATALOG.make(name, *arguments, **options), shapes


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=f"{name}: {promise}")
        for name, layer, shapes in layer_cases()
        for promise, check in layer_checks(layer, *shapes)
    ],
)
def test_layer(check):
    reason = check()
    if reason:
        pytest.skip(reason)


@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "scipy"])
@pytest.mark.parametrize(("layer", "shapes"), [pytest.param(*case, id=name) for name, *case in layer_cases()])
def test_layer_with_another_engine(layer, shapes, engine, engine_called):
    for promise, check in layer_checks(layer, *shapes, engine=engine_called(engine)):
        # A function layer meets the engine only where it may be computed by a kernel.
        if isinstance(layer, MatrixLayer) or promise == "check_workspace":
            check()


@pytest.mark.parametrize(("name", "options", "prediction", "target"), LOSSES)
def test_loss(name, options, prediction, target):
    check_loss(CATALOG.losses[name](**options), prediction, target)


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_optimizer(name, options):
    check_optimizer(CATALOG.optimizers[name](**options))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ENGINES)
def test_engine(name, threads, engine_called):
    check_engine(engine_called(name, threads))


@pytest.mark.parametrize(
    "engine", [pytest.param(name, marks=[] if name == "scipy" else pytest.mark.slow) for name in ENGINES]
)
@pytest.mark.parametrize("plugin", [p.name for p in CATALOG.plugins])
def test_plugin(plugin, engine, engine_called):
    for what, _, check in plugin_checks(CATALOG, plugin, engine=engine_called(engine)):
        if what.startswith("layers ") or engine == "scipy":  # nothing but layers depends on the engine
            told = check()
            if told and what.startswith("engines "):
                pytest.skip(told)


@pytest.mark.parametrize(("shelf", "table"), [("layers", LAYERS), ("losses", LOSSES), ("optimizers", OPTIMIZERS)])
def test_the_tables_know_everything_in_the_catalog(shelf, table):
    assert {row[0] for row in table} == set(getattr(CATALOG, shelf)), f"add a line to the table of {shelf}"
