"""All engines compute the same: whole networks, forward and backward, with one thread and several, again and again."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import (
    AveragePool,
    Catalog,
    Conv,
    Dataset,
    Dense,
    MaxPool,
    Network,
    RandomShift,
    ReLU,
    Sparse,
    Workspace,
    train,
)

CATALOG = Catalog()
ENGINES = list(CATALOG.engines)

# Every kind of architecture, as small as it comes.
ROWS = [
    ("lenet5", (1, 12, 12), {"width": 0.5}),
    ("lenet5-1998", (1, 28, 28), {}),
    ("lecun1989", (1, 16, 16), {}),
    ("alexnet", (3, 67, 67), {"width": 1 / 16}),
    ("vgg11-bn", (1, 32, 32), {"width": 1 / 16}),
    ("nin-cifar10", (3, 12, 12), {"width": 1 / 8}),
    ("googlenet", (1, 32, 32), {"width": 1 / 8}),
    ("resnet18", (1, 32, 32), {"width": 1 / 16}),
    ("resnet20-cifar", (3, 8, 8), {"width": 1 / 2}),
    ("all-cnn-c", (1, 12, 12), {"width": 1 / 8}),
    ("autoencoder", (1, 8, 8), {}),
]


def step(network, x, rng=0):
    """Outputs, buffers and gradients of a training step in a workspace."""
    trace = Workspace(network).run(network, x, training=True, rng=rng, backward=True)
    outputs = {name: trace[name] for name in network.outputs}
    draw = np.random.default_rng(1)
    dy = {name: draw.standard_normal(array.shape).astype(array.dtype) for name, array in outputs.items()}
    return {**outputs, **trace.buffers, **trace.backward(dy, params_only=True).params}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("name", "shape", "options"), ROWS, ids=[row[0] for row in ROWS])
def test_a_training_step(name, shape, options, engine, engine_called):
    network = CATALOG.build(name, shape, rng=0, dtype="float64", **options)
    x = np.random.default_rng(0).standard_normal((5, *shape))
    trace = network.run(x, training=True, rng=0)  # by scipy, every node on its own
    draw = np.random.default_rng(1)
    dy = {name: draw.standard_normal(trace[name].shape) for name in network.outputs}
    expected = {**{n: trace[n] for n in network.outputs}, **trace.buffers, **trace.backward(dy).params}
    got = step(network.with_engine(engine_called(engine, threads=2)), x)
    assert set(got) == set(expected)
    for key, array in expected.items():
        scale = max(1.0, np.abs(array).max())
        np.testing.assert_allclose(got[key], array, rtol=0, atol=1e-10 * scale, err_msg=key)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "layers",
    [
        [Sparse(Conv(4, 3).pattern((1, 6, 6)), (2, 32), bias=True), ReLU()],
        [Sparse(Conv(2, 3).pattern((1, 4, 4)).T, (2, 2, 4), bias=True), ReLU()],
        [Dense((2, 4, 4)), ReLU()],
        [Dense((2, 4, 4), bias=False), CATALOG.make("batch-norm"), ReLU()],
        [Dense((2, 4, 4), bias="unit"), ReLU(), MaxPool(2)],
        [Sparse(Conv(8, 3, padding=1).pattern((2, 4, 4)), (2, 8, 8)), ReLU(), MaxPool(2)],
        [Sparse(Conv(8, 3, padding=1).pattern((2, 4, 4)), (32, 2, 2)), MaxPool(2)],
    ],
    ids=str,
)
def test_channels_that_are_none_of_the_pattern(layers, engine, agree, engine_called):
    size = layers[0].connections.shape[1] if isinstance(layers[0], Sparse) else 36
    network, rng = Network.sequential((size,), layers, rng=0, dtype="float64"), np.random.default_rng(0)
    network = network.with_params({key: rng.normal(size=shape) for key, shape in network.param_shapes.items()})
    fast = network.with_engine(engine_called(engine))
    for batch in (5, 40):
        x = rng.standard_normal((batch, size))
        agree(fast.predict(x), network.predict(x))
        expected = step(network, x)
        for key, array in step(fast, x).items():
            agree(array, expected[key])


@pytest.mark.parametrize("engine", [*ENGINES, "auto"])
@pytest.mark.parametrize(
    ("shape", "layers"),
    [
        ((1, 28, 28), [Conv(10, kernel=28)]),
        ((1, 28, 28), [Conv(10, kernel=28, stride=30), ReLU(), MaxPool(1)]),
        ((1, 9), [Conv(3, kernel=9), ReLU(), Dense(2)]),
        ((1, 3, 4, 2), [Conv(5, kernel=(3, 4, 2)), MaxPool("global"), ReLU()]),
        ((4, 5, 3), [Conv(6, kernel=(5, 3), groups=2), ReLU()]),
        ((2, 4, 4), [Conv(4, kernel=6, padding=1), ReLU(), AveragePool("global")]),
        ((3, 2), [Conv(4, kernel=2, bias=False), ReLU()]),
    ],
    ids=str,
)
def test_a_window_as_large_as_the_input(shape, layers, engine, agree, engine_called):
    network, rng = Network.sequential(shape, layers, rng=0, dtype="float64"), np.random.default_rng(0)
    network = network.with_params({key: rng.normal(size=shape) for key, shape in network.param_shapes.items()})
    fast = network.with_engine(engine_called(engine))
    for batch in (0, 1, 40):
        x = rng.standard_normal((batch, *shape))
        agree(fast.predict(x), network.predict(x))
        expected = step(network, x)
        for key, array in step(fast, x).items():
            agree(array, expected[key])


@pytest.mark.parametrize("engine", [*ENGINES, "auto"])
def test_one_thread_or_several(engine, engine_called):
    x = np.random.default_rng(0).standard_normal((33, 1, 28, 28))
    one, two, again = (
        step(CATALOG.build("lenet5", rng=0, engine=engine_called(engine, threads)), x) for threads in (1, 2, 2)
    )
    for key, array in one.items():
        np.testing.assert_allclose(two[key], array, rtol=0, atol=1e-5 * np.abs(array).max(), err_msg=key)
        np.testing.assert_array_equal(again[key], two[key], err_msg=key)


@pytest.mark.parametrize("engine", [*ENGINES, "auto"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_seed_gives_the_same_bits(engine, dtype, engine_called):
    rng = np.random.default_rng(0)
    data = Dataset(rng.standard_normal((50, 1, 12, 12)), rng.integers(0, 10, 50))
    ends = []
    for _ in range(2):
        network = CATALOG.build("resnet20-cifar", (1, 12, 12), 10, 3, width=1 / 4, dtype=dtype)
        network = network.with_engine(engine_called(engine, threads=2))
        *_, last = train(network, data, epochs=2, batch_size=16, augment=RandomShift(1), rng=7)
        ends.append({**last.network.params, **last.network.buffers, "loss": np.array(last.loss)})
    for key, array in ends[0].items():
        np.testing.assert_array_equal(ends[1][key], array, err_msg=key)
