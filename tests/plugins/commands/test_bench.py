"""bench: every side computes the same before anything is timed, what differs fails, what cannot take part says why."""

import json
import math
import os
import sys
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
from simulator_plugins.commands.bench import baselines, comparison, growth, memory, start
from simulator_plugins.commands.bench.cases import BACKWARD, FORWARD, STEP, Case, Settings, digits_net, plans
from simulator_plugins.commands.bench.comparison import SIDES, compared, differences, made, timed
from simulator_plugins.commands.bench.sides import LeftOut
from simulator_plugins.commands.bench.translation import Untranslatable, translated

from simulator import (
    AveragePool,
    Catalog,
    Conv,
    ConvTranspose,
    Dense,
    LeakyReLU,
    LogSoftmax,
    MaxPool,
    Network,
    Pad,
    Reshape,
    SciPyEngine,
    ShapeError,
    Sigmoid,
    SimulatorError,
    Softmax,
    Subsample,
    Tanh,
    save,
)
from simulator.cli import main
from simulator.machine import machine

CATALOG = Catalog()
MAKE = CATALOG.make
ARCHITECTURES = [
    ("lenet5", {}),
    ("lenet5-1998", {}),
    ("vgg11", {"input_shape": (3, 32, 32), "width": 1 / 16}),
    ("vgg16", {"input_shape": (3, 32, 32), "width": 1 / 16}),
    ("vgg16-bn", {"input_shape": (3, 32, 32), "width": 1 / 16}),
    ("resnet18", {"input_shape": (3, 32, 32), "width": 1 / 16}),
    ("resnet50", {"input_shape": (3, 64, 64), "width": 1 / 16}),
    ("resnet20-cifar", {"input_shape": (3, 16, 16), "width": 1 / 4}),
    ("resnet20-cifar", {"input_shape": (3, 16, 16), "width": 1 / 4, "option": "B", "norm": False}),
    ("plain20", {"input_shape": (3, 16, 16), "width": 1 / 4}),
    ("alexnet", {"input_shape": (1, 67, 67), "width": 1 / 16}),
    ("alexnet-torchvision", {"input_shape": (1, 67, 67), "width": 1 / 16}),
    ("googlenet", {"input_shape": (1, 32, 32), "width": 1 / 16}),
    ("googlenet-torchvision", {"input_shape": (1, 64, 64), "width": 1 / 16}),
    ("nin", {"input_shape": (1, 55, 55), "width": 1 / 8}),
    ("nin-cifar10", {"input_shape": (1, 12, 12), "width": 1 / 8}),
    ("all-cnn-c", {"input_shape": (1, 12, 12), "width": 1 / 8}),
]
LAYERS = [
    (Conv(4, kernel=3, padding=1), (2, 7)),
    (Conv(4, kernel=(3, 2), stride=2, padding=(1, 0), bias=False), (2, 7, 6)),
    (Conv(4, kernel=2, dilation=2), (2, 4, 5, 4)),
    (Conv(4, kernel=3, groups=2, padding=1, padding_mode="circular"), (2, 5, 5)),
    (Conv(4, kernel=3, padding=1, padding_mode="reflect"), (2, 5, 5)),
    (Conv(4, kernel=3, padding=1, padding_mode="replicate"), (2, 5, 5)),
    (Conv(3, kernel=3, table=((0,), (0, 1), (1,))), (2, 5, 5)),
    (Conv(3, kernel=3, table=((0,), (0, 1), (1,)), bias=False), (2, 5, 5)),
    (ConvTranspose(4, kernel=3, stride=2, padding=1, output_padding=1, groups=2), (2, 3, 4)),
    (Dense(3), (5,)),
    (Dense(3, bias=False), (2, 3, 4)),
    (MaxPool(3, stride=2, ceil=True), (2, 8, 8)),
    (MaxPool(3, stride=2, padding=1), (2, 8)),
    (MaxPool("global"), (2, 3, 4)),
    (AveragePool(3, stride=2, padding=1, count_include_pad=False, ceil=True), (2, 8, 8)),
    (AveragePool("global"), (2, 3, 4)),
    (Subsample(2), (3, 4, 6)),
    (Subsample("global", bias=False), (3, 4)),
    (Pad(((1, 2), (0, 3)), pad_value=0.5), (2, 4, 5)),
    (Pad(2, mode="reflect"), (2, 5, 6)),
    (Reshape((4, -1)), (2, 4, 3)),
    (LeakyReLU(0.3), (2, 4)),
    (Sigmoid(), (2, 4)),
    (Tanh(), (2, 4)),
    (Softmax(), (5,)),
    (LogSoftmax(), (5,)),
    (MAKE("relu"), (2, 4)),
    (MAKE("batch-norm"), (3, 4)),
    (MAKE("local-response-norm", 3, 0.5), (5, 2, 2)),
    (MAKE("identity-shortcut", 5), (2, 5, 4)),
]


def alone(layer, shape, dtype="float64", **options):
    return Network.sequential(shape, [layer], rng=0, dtype=dtype, **options)


def case_of(network, what, batch=4, catalog=CATALOG):
    return Case("it", what, network, batch, catalog, inner=what == BACKWARD)


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def short_turns(monkeypatch):
    monkeypatch.setattr(comparison, "_TURN", 0.0)
    monkeypatch.setattr(comparison, "_PAUSE", 0.0)


@pytest.fixture
def bench(capsys, tmp_path, monkeypatch):
    """Run ``simulator bench`` in an empty folder, at small cost."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(comparison, "_TURN", 0)

    def run(*args):
        with pytest.raises(SystemExit) as end:
            main(["bench", "--engine", "scipy", "--threads", "1", *args])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Result(end.value.code, captured.out, captured.err)

    return run


@pytest.fixture
def without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)


class TestTranslation:
    @pytest.mark.parametrize(("name", "options"), ARCHITECTURES)
    def test_an_architecture_predicts_the_same(self, torch, agree, name, options):
        network = CATALOG.build(name, classes=10, dtype="float64", **options)
        module, params, buffers = translated(network, CATALOG)
        x = np.random.default_rng(0).standard_normal((3, *network.input_shape))
        with torch.no_grad():
            agree(module.eval()(torch.from_numpy(x)).numpy(), network.predict(x), 1e-10)
        assert {name: tuple(p.shape) for name, p in params.items()} == network.param_shapes
        assert set(buffers) == set(network.buffers)

    @pytest.mark.parametrize(("name", "options"), ARCHITECTURES)
    def test_an_architecture_takes_the_same_step(self, torch, name, options):
        network = CATALOG.build(name, classes=10, dtype="float64", **options)
        case = case_of(network, STEP).certain
        sides, reasons = made(case)
        reference, found = differences(sides)
        assert reference == "pytorch"
        assert list(reasons) == ["im2col"]
        assert found.keys() == {"simulator", "pytorch", "csr"}
        assert max(found.values()) < 1e-9
        # another step, on the weights and buffers after the first one
        assert max(differences(sides)[1].values()) < 1e-8

    @pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=str)
    def test_a_layer_and_its_gradients(self, torch, layer, shape):
        sides, _ = made(case_of(alone(layer, shape), BACKWARD))
        reference, found = differences(sides)
        assert reference == "pytorch"
        assert max(found.values()) < 1e-12

    def test_a_layer_of_lenet5_1998(self, torch):
        rbf = MAKE("rbf", ("##.", ".#."))
        _, found = differences(made(case_of(alone(rbf, (3,)), FORWARD))[0])
        assert found["simulator"] < 1e-14

    def test_shared_weights_are_one_parameter(self, torch):
        network = Network.input((4,), dtype="float64").add(Dense(4), name="a", rng=0).add(Dense(4), name="b", share="a")
        case = case_of(network, STEP)
        assert len(SIDES["pytorch"](case)._params) == 2
        assert max(differences(made(case)[0])[1].values()) < 1e-12

    def test_relu_writes_only_where_nobody_else_reads(self, torch):
        network = Network.input((4,), dtype="float64").add(Dense(4), name="a", rng=0).add(MAKE("relu"), "a", name="b")
        network = network.add(MAKE("add"), "a", "b").add(MAKE("sigmoid"), name="s").add(MAKE("relu"))
        assert max(differences(made(case_of(network, STEP))[0])[1].values()) < 1e-12

    def test_weights_are_copied_or_read_where_they_stand(self, torch):
        network = alone(Dense(3), (4,))
        before = network.params["dense1.weight"].copy()
        for copy in (True, False):
            _, params, _ = translated(network, CATALOG, copy=copy)
            assert np.shares_memory(params["dense1.weight"].detach().numpy(), network.params["dense1.weight"]) != copy
        case = case_of(network, STEP)
        SIDES["pytorch"](case).run()
        np.testing.assert_array_equal(network.params["dense1.weight"], before)

    @pytest.mark.parametrize(
        ("layer", "shape", "message"),
        [
            (Conv(2, kernel=3, flip=True), (1, 4), "conv1: expected flip=False for PyTorch, got True"),
            (Conv(2, kernel=3, padding=1, pad_value=1.0), (1, 4), "conv1: expected pad_value=0 for PyTorch, got 1.0"),
            (Conv(2, kernel=3, bias="unit"), (1, 4), "expected one bias per channel for PyTorch, got one per unit"),
            (ConvTranspose(2, kernel=3, bias="unit"), (1, 4), "expected one bias per channel"),
            (Subsample(2, bias="unit"), (1, 4), "expected one bias per channel"),
            (Conv(2, kernel=2, padding="same"), (1, 4), "expected as much padding before as behind"),
            (AveragePool(2, dilation=2), (1, 4), "expected dilation=1"),
            (MaxPool(2, padding=((0, 1),)), (1, 4), "expected as much padding before as behind"),
            (MaxPool(3, stride=1, padding=2), (1, 4), "expected padding of at most half a window"),
            (MAKE("dropout", 0.5, inverted=False), (4,), "expected inverted=True"),
            (MAKE("batch-norm", frozen=True), (2, 4), "expected frozen=False"),
            (MAKE("locally-connected", 2, 3), (1, 4), "expected a layer that PyTorch has, got 'locally-connected'"),
        ],
    )
    def test_what_pytorch_does_not_have(self, torch, layer, shape, message):
        with pytest.raises(Untranslatable, match=message):
            translated(alone(layer, shape), CATALOG)

    def test_a_layer_of_no_catalog(self, torch):
        with pytest.raises(Untranslatable, match="expected a layer that PyTorch has, got 'BatchNorm'"):
            translated(alone(MAKE("batch-norm"), (2, 3)), Catalog(entry_points=False))

    def test_somebody_elses_layer_of_a_known_name(self, torch):
        class Other(type(MAKE("tanh"))):
            pass

        catalog = SimpleNamespace(layers=SimpleNamespace(named=lambda kind: SimpleNamespace(name="leaky-relu")))
        with pytest.raises(
            Untranslatable, match="other1: expected the usual 'leaky-relu', got .* no attribute 'slope'"
        ):
            translated(alone(Other(), (2,)), catalog)

    def test_without_pytorch(self, without_torch):
        with pytest.raises(Untranslatable, match="expected PyTorch, got none; pip install torch"):
            translated(alone(Dense(2), (2,)), CATALOG)


class TestBaselines:
    @pytest.mark.parametrize(
        ("layer", "shape"),
        [
            (Conv(4, kernel=3, padding=1), (2, 6, 5)),
            (Conv(4, kernel=(2, 3), stride=(2, 1), padding=((1, 0), (0, 2)), bias=False), (2, 6, 5)),
            (Conv(4, kernel=3), (2, 6)),
            (Conv(3, kernel=2), (2, 3, 4, 3)),
            (Dense(3), (5,)),
            (Dense(3), (2, 3, 4)),
        ],
    )
    def test_they_agree_with_the_proof(self, agree, layer, shape):
        # by simulator.direct, which knows of neither matrices nor columns
        from simulator.direct import direct

        case = case_of(alone(layer, shape), BACKWARD)
        (node,) = (n for n in case.network.nodes.values() if n.inputs)
        weight, bias = (case.network.params.get(f"{node.name}.{key}") for key in ("weight", "bias"))
        inner = [np.moveaxis(a, 0, -1) for a in (case.x, case.dy)]
        y, dx, dweight = direct(layer, inner[0], weight, inner[1])
        if bias is not None:
            y = y + bias.reshape(-1, *(1,) * (y.ndim - 1))
        for name in ("csr", "im2col"):
            side = SIDES[name](case)
            numbers = side.numbers(side.run())
            agree(numbers["output", ""], np.moveaxis(y, -1, 0))
            agree(numbers["gradient", "input"], np.moveaxis(dx, -1, 0))
            agree(numbers["gradient", f"{node.name}.weight"], dweight)
            if bias is not None:
                agree(numbers["gradient", f"{node.name}.bias"], inner[1].sum(axis=tuple(range(1, inner[1].ndim))))

    def test_outer_products_and_sampled_ones_agree(self, agree, monkeypatch):
        layer = alone(Conv(3, kernel=3), (2, 8, 8))
        matrix, rng = layer.node("conv1").matrix, np.random.default_rng(0)
        x, dy = rng.standard_normal((matrix.shape[1], 3)), rng.standard_normal((matrix.shape[0], 3))
        outer = baselines.TieGradient()(matrix, x, dy)
        monkeypatch.setattr(baselines, "_OUTER", 0)
        agree(outer, matrix.grad(x, dy))
        agree(baselines.TieGradient()(matrix, x, dy), outer)

    @pytest.mark.parametrize(
        ("layer", "message"),
        [
            (Conv(2, kernel=3, groups=2), "im2col: expected a plain convolution"),
            (Conv(2, kernel=2, dilation=2), "im2col: expected a plain convolution"),
            (Conv(2, kernel=3, bias="unit"), "im2col: expected a plain convolution"),
            (Subsample(2), "im2col: expected a convolution or dense layer, got Subsample"),
        ],
    )
    def test_what_im2col_does_not_do(self, layer, message):
        with pytest.raises(LeftOut, match=message):
            SIDES["im2col"](case_of(alone(layer, (2, 6, 6)), FORWARD))

    def test_a_pad_value_is_not_for_bare_products(self):
        layer = Conv(2, kernel=3, padding=1, pad_value=1.0)
        with pytest.raises(LeftOut, match="csr: expected zeros on the padding"):
            SIDES["csr"](case_of(alone(layer, (2, 6, 6)), FORWARD))

    def test_what_would_not_fit_is_left_out_before_there_are_weights(self):
        network = CATALOG.build("vgg11", rng=None)
        with pytest.raises(LeftOut, match=r"csr: expected at most 1.1 GB, got [\d.]+ GB"):
            SIDES["csr"](case_of(network, FORWARD))
        layer = Network.sequential((64, 224, 224), [Conv(64, kernel=3)])
        with pytest.raises(LeftOut, match=r"im2col: expected at most 1.1 GB, got [\d.]+ GB"):
            SIDES["im2col"](case_of(layer, FORWARD))

    def test_what_would_take_too_long_is_left_out(self):
        layer = Network.sequential((16, 32, 32), [Conv(16, kernel=3)])
        with pytest.raises(LeftOut, match=r"csr: expected at most 2.1 billion products, got [\d.]+ billion"):
            SIDES["csr"](case_of(layer, BACKWARD, batch=1000))


class Fixed:
    """A side whose numbers are known."""

    def __init__(self, **numbers):
        self._numbers = {("gradient", name): np.array(value) for name, value in numbers.items()}

    def run(self):
        return self._numbers

    def numbers(self, result):
        return result


class TestComparison:
    def test_differences_are_shares_of_the_largest_number(self):
        sides = {"simulator": Fixed(a=[4.0, 1.0]), "pytorch": Fixed(a=[4.0, 2.0])}
        assert differences(sides) == ("pytorch", {"pytorch": 0.0, "simulator": 0.25})

    def test_rounding_errors_of_zeros_are_small_beside_large_gradients(self):
        sides = {"simulator": Fixed(a=[1e-9], b=[8.0]), "csr": Fixed(a=[-1e-9], b=[8.0])}
        assert differences(sides)[1]["simulator"] == pytest.approx(2e-9 / 8e-3)

    @pytest.mark.parametrize("wrong", [[math.nan, 1.0], [math.inf, 1.0], [1.0], [[1.0, 1.0]]])
    def test_what_is_no_number_or_of_another_shape_differs(self, wrong):
        sides = {"simulator": Fixed(a=wrong), "csr": Fixed(a=[1.0, 1.0])}
        assert differences(sides)[1]["simulator"] == math.inf

    def test_the_simulator_alone_is_compared_with_nobody(self):
        assert differences({"simulator": Fixed(a=[1.0])}) == (None, {})

    def test_sides_take_turns(self, monkeypatch):
        monkeypatch.setattr(comparison, "_TURN", 0.1)
        order, rounds = [], []
        sides = {name: SimpleNamespace(run=lambda name=name: order.append(name)) for name in "ab"}
        monkeypatch.setattr(comparison, "_seconds", lambda side: side.run() or 0.008)
        taken = timed(sides, repeat=2, on_round=lambda *at: rounds.append(at))
        turns = ("a" * 13 + "b" * 13) * 2  # the first run of each does not count
        assert "".join(order) == "ab" + "ab" + turns  # a warm-up, a first look at the time, two rounds
        assert taken == {"a": [0.008] * 24, "b": [0.008] * 24}
        assert rounds == [(1, 2), (2, 2)]

    @pytest.mark.parametrize(("once", "rounds"), [(0.1, 7), (5.0, 3), (0.02, 12 * 5), (0.0005, 14 * 200)])
    def test_rounds_fill_the_time(self, monkeypatch, once, rounds):
        monkeypatch.setattr(comparison, "_TURN", 0.1)
        monkeypatch.setattr(comparison, "_seconds", lambda side: once)
        side = SimpleNamespace(run=lambda: None)
        assert len(timed({"a": side, "b": side})["a"]) == rounds

    def test_gradients_that_differ_in_float32_are_compared_in_float64(self, monkeypatch):
        case = case_of(alone(Dense(3), (4,), "float32"), BACKWARD)
        monkeypatch.setitem(comparison.TOLERANCE, "float32", -1)  # on some processors all sides agree to the last bit
        told = compared(case, repeat=1)
        assert told["failed"] == []
        assert told["tolerance"] == comparison.COARSE
        assert told["sides"]["simulator"]["max_difference"] < 1e-5
        assert told["sides"]["simulator"]["max_difference_float64"] < 1e-12

    def test_threads_are_given_back(self, torch):
        before = torch.get_num_threads()
        with comparison.limited(2):
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == before


class TestCases:
    def test_dropout_leaves_out_nothing_while_numbers_are_compared(self):
        layers = [Dense(5), MAKE("dropout", 0.4), Dense(3)]
        network = Network.sequential((4,), layers, rng=0, engine=SciPyEngine(threads=1))
        case = case_of(network, STEP)
        certain = case.certain.network
        assert certain.node("dropout1").layer.rate == 0
        assert certain.engine is network.engine
        assert all(np.array_equal(certain.params[name], array) for name, array in network.params.items())
        assert case_of(network, FORWARD).certain.network is network

    def test_both_precisions_get_the_same_numbers(self):
        for what in (BACKWARD, STEP):
            single = case_of(alone(Dense(3), (4,), "float32"), what)
            double = replace(single, network=single.network.with_dtype("float64"))
            assert single.x.dtype == np.float32
            np.testing.assert_array_equal(single.x, double.x)
            np.testing.assert_array_equal(single.dy, double.dy)
            np.testing.assert_array_equal(single.labels, double.labels)

    @pytest.mark.parametrize(
        ("network", "message"),
        [
            (Network.sequential((1, 4, 4), [Conv(2, kernel=3)]), r"one output per class to train, got .* \(2, 2, 2\)"),
            (
                Network.input((4,)).add(Dense(2)).add(Dense(2), "input"),
                "expected one input and one output, got 1 and 2",
            ),
            (
                Network.sequential((10**6,), [Dense(10**6)]),
                "expected at most .* GB of memory, .* use a smaller --batch-size",
            ),
        ],
    )
    def test_what_cannot_be_trained(self, network, message):
        with pytest.raises(ShapeError, match=message):
            case_of(network, STEP).check()

    def test_each_layer_of_a_network_once(self):
        settings = Settings(("vgg16",), True, True, 1, 1, "float32", "scipy", {}, (), {})
        names = [plan.args[0] for plan in plans(settings, CATALOG, SciPyEngine(threads=1))]
        assert names[:3] == ["vgg16 conv1_1", "vgg16 conv1_2", "vgg16 conv2_1"]
        assert len(names) == 12  # of 16: some have equal neighbours


class TestCommand:
    def test_json(self, torch, bench):
        result = bench("digits-net", "--batch-size", "4", "--repeat", "2", "--json")
        assert (result.status, result.err) == (0, "")
        report = json.loads(result.out)
        assert report["ok"] is True
        assert {**report["machine"], "load": None} == {**machine(), "load": None}
        (case,) = report["cases"]
        expected = {"case": "digits-net", "what": "training step", "batch": 4, "dtype": "float32", "threads": 1}
        assert expected.items() <= case.items()
        assert case["engine"] == "scipy"
        assert case["reference"] == "pytorch"
        assert case["failed"] == []
        for name in ("simulator", "pytorch", "csr"):
            side = case["sides"][name]
            assert side["median_ms"] > 0
            assert side["runs"] == 2
            assert side["max_difference"] < report["tolerance"] == 1e-4
            assert side["skipped"] is None
        assert case["sides"]["im2col"]["skipped"] == "im2col: expected a single layer, got a network"
        assert case["sides"]["im2col"]["median_ms"] is None
        own = case["sides"]["simulator"]["median_ms"]
        assert case["ratios"] == {name: case["sides"][name]["median_ms"] / own for name in ("pytorch", "csr")}

    def test_table(self, torch, bench):
        result = bench(
            "lenet5", "resnet20-cifar", "--input", "1x16x16", "-o", "width=0.25", "--batch-size", "2", "--repeat", "1"
        )
        assert result.status == 0
        header, _, *rows = (line.split() for line in result.out.splitlines()[2:6])
        assert header[:3] == ["case", "what", "batch"]
        assert [row[:3] for row in rows] == [["lenet5", "training", "step"], ["resnet20-cifar", "training", "step"]]
        assert all(row[-2].endswith("x") for row in rows)
        assert "All sides computed the same outputs, losses, gradients and new weights, to 1e-04" in result.out
        assert "Left out of lenet5, resnet20-cifar: im2col: expected a single layer, got a network" in result.out
        assert f"numpy {np.__version__}" in result.out

    @pytest.mark.parametrize(("load", "told"), [(0.2, False), (1e4, True), (None, False)])
    def test_a_busy_machine_is_told(self, bench, monkeypatch, load, told):
        if load is None:
            monkeypatch.delattr(os, "getloadavg")
        else:
            monkeypatch.setattr(os, "getloadavg", lambda: (load, 0, 0))
        result = bench("digits-net", "--forward", "--batch-size", "1", "--repeat", "1")
        assert ("The machine was busy when this began" in result.out) == told

    def test_layers(self, bench):
        result = bench("lenet5", "--per-layer", "--batch-size", "2", "--repeat", "1", "--dtype", "float64", "--json")
        report = json.loads(result.out)
        names = ["conv1", "conv2", "dense1", "dense2", "dense3"]
        assert [(c["case"], c["what"]) for c in report["cases"]] == [
            (f"lenet5 {name}", what) for name in names for what in ("forward", "forward, backward")
        ]
        assert all(case["ratios"].keys() >= {"csr", "im2col"} for case in report["cases"])
        assert all(
            s["max_difference"] < 1e-12 for c in report["cases"] for s in c["sides"].values() if not s["skipped"]
        )

    def test_without_pytorch(self, without_torch, bench):
        result = bench("digits-net", "--batch-size", "2", "--repeat", "1", "--forward", "--json")
        (case,) = json.loads(result.out)["cases"]
        assert case["reference"] == "csr"
        assert case["sides"]["pytorch"]["skipped"] == "bench: expected PyTorch, got none; pip install torch"

    def test_a_network_with_dropout(self, bench):
        result = bench(
            "nin-cifar10", "--input", "1x12x12", "-o", "width=0.125", "--batch-size", "2", "--repeat", "1", "--json"
        )
        (case,) = json.loads(result.out)["cases"]
        assert case["failed"] == []
        assert case["sides"]["simulator"]["runs"] == 1

    @pytest.mark.parametrize(
        ("method", "fault"),
        [
            ("apply", "1.01 * super().apply(matrix, x)"),
            ("apply", "super().apply(matrix, x) * float('nan')"),
            ("apply_transposed", "-super().apply_transposed(matrix, dy)"),
            ("grad", "super().grad(matrix, x, dy) + 1"),
        ],
    )
    def test_a_wrong_engine_fails(self, bench, tmp_path, method, fault):
        arguments = {"apply": "x", "apply_transposed": "dy", "grad": "x, dy"}[method]
        (tmp_path / "wrong.py").write_text(
            "from simulator import SciPyEngine, hookimpl\n"
            "class Wrong(SciPyEngine):\n"
            f"    def {method}(self, matrix, {arguments}):\n"
            f"        return {fault}\n"
            "@hookimpl\n"
            "def register_engines(register):\n"
            "    register('wrong', Wrong)\n"
        )
        args = ("digits-net", "--batch-size", "4", "--repeat", "1", "-p", "wrong.py", "--engine", "wrong")
        result = bench(*args)
        assert result.status == 1
        assert "FAIL digits-net, training step: expected simulator to compute what" in result.out
        assert "All sides computed the same" not in result.out
        report = json.loads(bench(*args, "--json").out)
        assert report["ok"] is False
        assert report["cases"][0]["failed"] == ["simulator"]
        assert report["cases"][0]["sides"]["simulator"]["median_ms"] is None
        assert report["cases"][0]["ratios"] == {}

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (["lenet"], "expected one of the architectures, got 'lenet'; did you mean 'lenet5'"),
            (["nothing.safetensors"], "expected the file of a trained network, got 'nothing.safetensors'"),
            (["vgg16", "--batch-size", "1000000"], "bench vgg16: expected at most"),
            (["lenet5", "--batch-size", "0"], "0 is not in the range"),
            (["--output", "a.png"], "--output: expected --growth with it"),
            (["--growth", "--output", "a.jpg"], "expected a file that ends in .png, .svg or .pdf, got 'a.jpg'"),
            (["--growth", "lenet5"], "--growth times a convolution of its own"),
            (["--start", "lenet5"], "--start times commands: leave out NET"),
            (["--start", "--growth"], "--start times commands: leave out NET"),
            (["--start", "--input", "1x8x8"], "--start times commands: leave out NET"),
            (["--input", "1x8x8"], "--input, --classes and -o: expected architectures to build, got the usual list"),
            (["lenet5", "digits-net", "--classes", "3"], "expected architectures to build, got digits-net"),
            (["autoencoder"], "expected one output per class to train"),
            (["--engine", "fast"], "expected one of the engines, got 'fast'"),
        ],
    )
    def test_complaints(self, bench, args, message):
        result = bench(*args)
        assert result.status == 2
        assert message in result.err

    def test_the_usual_list(self):
        settings = Settings((), False, False, 64, 1, "float32", "scipy", {}, (), {})
        names = [(plan.args[0], plan.args[1]) for plan in plans(settings, CATALOG, SciPyEngine(threads=1))]
        assert names[:2] == [("lenet5", STEP), ("digits-net", STEP)]
        assert [name for name, what in names if what == BACKWARD] == [
            "lenet5 conv1",
            "lenet5 conv2",
            "conv 64 -> 64, 16x16",
            "dense 1024 -> 256",
        ]
        assert digits_net(MAKE, None).param_shapes["conv2.weight"] == (32, 16, 3, 3)


class TestStart:
    def test_commands_beside_numpy(self, bench, monkeypatch):
        some = {command: start.COMMANDS[command] for command in (start.NUMPY, "simulator --help")}
        monkeypatch.setattr(start, "COMMANDS", some)
        rows = json.loads(bench("--start", "--repeat", "2", "--json").out)["start"]
        assert [row["command"] for row in rows] == list(some)
        assert [row["vs_numpy"] for row in rows] == [1.0, rows[1]["wall_ms"] / rows[0]["wall_ms"]]
        assert all(row["wall_ms"] > 1 and row["cpu_ms"] >= 0 for row in rows)
        printed = bench("--start", "--repeat", "1").out
        assert "python -c 'import numpy'" in printed
        assert "1.0x" in printed

    def test_a_command_that_fails_is_named(self, bench, monkeypatch):
        monkeypatch.setitem(start.COMMANDS, "simulator nothing", ("-m", "simulator", "nothing"))
        result = bench("--start", "--repeat", "1")
        assert result.status == 2
        assert "bench --start: expected simulator nothing to work, got exit status 2; run it alone" in result.err


class TestGrowth:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch):
        monkeypatch.setattr(growth, "POINTS", 2)
        monkeypatch.setattr(growth, "LEAST", 0)
        monkeypatch.setattr(growth, "_CHANNELS", 2)

    @pytest.mark.parametrize("power", [0.5, 1, 2])
    def test_the_exponent_is_that_of_a_power(self, power):
        sizes = [1, 2, 4, 8]
        assert growth.Curve("batch", sizes, [3 * n**power for n in sizes], 0.0).exponent == pytest.approx(power)

    def test_a_figure_and_json(self, bench, tmp_path):
        pytest.importorskip("matplotlib")
        result = bench("--growth", "--output", "growth.svg", "--repeat", "1", "--json")
        report = json.loads(result.out)
        batch, nonzeros = report["growth"]
        assert (batch["over"], batch["sizes"]) == ("batch", [8, 16])
        assert (nonzeros["over"], nonzeros["sizes"]) == ("nonzeros", [4 * 22**2, 4 * 31**2])
        slope = math.log(batch["milliseconds"][1] / batch["milliseconds"][0]) / math.log(2)
        assert batch["exponent"] == pytest.approx(slope)
        assert "Forward and backward over batch" in (tmp_path / "growth.svg").read_text()

    def test_a_table(self, bench):
        result = bench("--growth", "--repeat", "1")
        assert result.out.count("Time grows with the power") == 2

    def test_it_looks_for_a_size_that_takes_long_enough(self, monkeypatch):
        monkeypatch.setattr(growth, "LEAST", 0.001)
        monkeypatch.setattr(growth, "_median", lambda case, repeat: case.batch * 2e-5)
        curve = growth.measured("batch", CATALOG, SciPyEngine(threads=1), "float64")
        assert curve.sizes == [64, 128]
        assert curve.milliseconds == [1.28, 2.56]
        assert curve.exponent == pytest.approx(1)
        assert curve.max_difference < 1e-12

    def test_a_wrong_engine(self):
        class Wrong(SciPyEngine):
            def grad(self, matrix, x, dy):
                return 2 * super().grad(matrix, x, dy)

        with pytest.raises(SimulatorError, match=r"expected the numbers of a bare csr @ x, got .* 1.0e\+00"):
            growth.measured("batch", CATALOG, Wrong(threads=1), "float64", repeat=1)


class TestMemory:
    def test_large_activations_are_counted(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        save("large.safetensors", Network.sequential((10**7,), [MAKE("relu")], rng=0))
        settings = Settings(("large.safetensors",), False, True, 1, 1, "float32", "scipy", {}, (), {})
        grown = memory.peak_of(settings, 0, "simulator")
        assert 80e6 < grown < 200e6  # samples and outputs take 40 MB each, the samples in the inner layout, too

    def test_a_process_that_is_killed(self, monkeypatch):
        class Killed:
            def __init__(self, *args):
                pass

            __enter__ = lambda self: self  # noqa: E731
            __exit__ = lambda *args: None  # noqa: E731

            def submit(self, *args):
                raise memory.BrokenProcessPool

        monkeypatch.setattr(memory, "ProcessPoolExecutor", Killed)
        with pytest.raises(SimulatorError, match="expected csr to finish, got a process that was killed"):
            memory.peak_of(None, 0, "csr")

    @pytest.mark.slow
    def test_the_command(self, torch, bench):
        result = bench("digits-net", "--batch-size", "2", "--repeat", "1", "--memory", "--json")
        (case,) = json.loads(result.out)["cases"]
        assert all(case["sides"][name]["peak_bytes"] >= 0 for name in ("simulator", "pytorch", "csr"))
        assert case["sides"]["im2col"]["peak_bytes"] is None
        result = bench("digits-net", "--batch-size", "2", "--repeat", "1", "--memory")
        assert "pytorch MB" in result.out
