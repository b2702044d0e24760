"""The autoencoder: its decoder is made of transposes of its encoder's matrices, and it learns to give digits back."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import xlogy

from simulator import Catalog, CosineDecay, Dataset, ShapeError, evaluate, train
from simulator.testing import check_architecture


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


@pytest.mark.parametrize("options", [{}, {"input_shape": (3, 7, 10), "maps": (4, 5, 6), "code": 3}])
def test_it_keeps_the_promises_of_an_architecture(catalog, options):
    check_architecture(catalog, "autoencoder", **options)


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 7, 9)])
def test_with_the_weights_of_a_convolution_its_counterpart_is_the_transposed_matrix(catalog, shape):
    network = catalog.build("autoencoder", shape, maps=(3, 4))
    for down, up in (("conv1", "decoded"), ("conv2", "up2")):
        tied = network.with_params({f"{up}.weight": network.params[f"{down}.weight"]})
        there, back = (tied.node(name).matrix.tocsr().toarray() for name in (down, up))
        np.testing.assert_array_equal(back, there.T)


def test_the_code_is_all_that_the_output_knows(catalog):
    network = catalog.build("autoencoder", code=2)
    x = np.random.default_rng(0).uniform(size=(5, 1, 8, 8))
    trace = network.run(x)
    assert trace["code"].shape == (5, 2)
    slopes = np.stack(
        [
            network.run(x[:1]).backward({"decoded": dy[None]}).inputs["input"][0]
            for dy in np.eye(64).reshape(-1, 1, 8, 8)
        ]
    )
    assert np.linalg.matrix_rank(slopes.reshape(64, 64)) == 2


def test_it_agrees_with_pytorch(catalog, torch, agree):
    network = catalog.build("autoencoder", (1, 8, 7), maps=(2, 3), code=4, dtype="float64")
    nn, down = torch.nn, {"kernel_size": 3, "stride": 2, "padding": 1}
    modules = {
        "conv1": nn.Conv2d(1, 2, **down), "relu1": nn.ReLU(), "conv2": nn.Conv2d(2, 3, **down), "relu2": nn.ReLU(),
        "flatten": nn.Flatten(), "code": nn.Linear(12, 4), "dense": nn.Linear(4, 12), "relu": nn.ReLU(),
        "reshape": nn.Unflatten(1, (3, 2, 2)), "up2": nn.ConvTranspose2d(3, 2, **down, output_padding=1),
        "up-relu2": nn.ReLU(), "decoded": nn.ConvTranspose2d(2, 1, **down, output_padding=(1, 0)),
    }  # fmt: skip
    other = nn.Sequential()
    for name, module in modules.items():
        other.add_module(name, module)
    other.double().load_state_dict({name: torch.tensor(array) for name, array in network.params.items()})
    x = np.random.default_rng(0).normal(size=(3, 1, 8, 7))
    agree(network.predict(x), other(torch.tensor(x)).detach().numpy())


def test_what_is_missing_above_the_entropy_of_the_digits_falls_to_less_than_a_tenth(catalog):
    pytest.importorskip("sklearn")
    data, held_out = (Dataset(d.inputs, d.inputs) for d in catalog.load_data("digits").split(0.2))
    network = catalog.build("autoencoder")
    losses, _ = catalog.objective("autoencoder", network)

    def missing(network):
        x = held_out.inputs
        entropy = -np.mean(np.sum(xlogy(x, x) + xlogy(1 - x, 1 - x), axis=(1, 2, 3)))  # no loss is below
        return evaluate(network, held_out, losses=losses)["loss"] - entropy

    lr = catalog.architectures.entry("autoencoder").lr
    optimizer = catalog.create("optimizers", "momentum", lr=CosineDecay(lr, 10 * 45))
    *_, epoch = train(network, data, epochs=10, batch_size=32, losses=losses, optimizer=optimizer)
    assert 0 < missing(epoch.network) < missing(network) / 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"maps": ()}, r"autoencoder maps: expected at least one convolution, got \(\); write maps="),
        ({"code": 0}, "autoencoder code: expected an integer of at least 1, got 0"),
        ({"input_shape": (64,)}, "autoencoder: expected an input .* of at least 2 x 2, got"),
    ],
)
def test_arguments_that_make_no_sense(catalog, options, message):
    with pytest.raises(ShapeError, match=message):
        catalog.build("autoencoder", **options)
