"""What a caller gives becomes an array of real numbers, or is refused with a cure that works."""

import numpy as np
import pytest

from simulator import Catalog, Conv, Dense, Flatten, Network, ReLU, ShapeError, UnknownNameError
from simulator.arrays import real_array


@pytest.mark.parametrize("value", [1, 2.5, True, [1, 2], ((1, 2), (3, 4)), np.float16(1), np.arange(3, dtype=np.uint8)])
def test_numbers_are_read(value):
    np.testing.assert_array_equal(real_array("mine", value), value)


def test_an_array_is_not_copied():
    array = np.zeros(3)
    assert real_array("mine", array) is array


@pytest.mark.parametrize(
    ("value", "got"),
    [
        ([[1], [1, 2]], "a ragged list; give rows of equal length"),
        (([1], 2), "a ragged tuple; give rows of equal length"),
        ("abc", "values of type str; convert them with numpy.float64\\(values\\)"),
        (None, "values of type object; convert them to numbers first"),
        ([1j], "values of type complex128; take their real parts, values.real"),
        (np.array(["2026-01-01"], "M8"), "values of type datetime64; convert them to numbers first"),
    ],
)
def test_what_is_no_array_of_real_numbers(value, got):
    with pytest.raises(ShapeError, match=f"^mine: expected an array of real numbers, got {got}$"):
        real_array("mine", value)


def test_an_array_of_another_library_that_fails():
    class Strange:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("not on this device\nmore")

    with pytest.raises(ShapeError, match=r"got Strange, which NumPy cannot read \(not on this device\); convert it"):
        real_array("mine", Strange())


def test_tensors_that_numpy_cannot_read_and_the_cure(torch):
    needs_gradients = torch.ones(2, requires_grad=True)
    for tensor in (needs_gradients, torch.ones(2, dtype=torch.bfloat16)):
        with pytest.raises(ShapeError, match=r"PyTorch tensor: tensor\.detach\(\)\.cpu\(\)\.float\(\)\.numpy\(\)$"):
            real_array("mine", tensor)
        np.testing.assert_array_equal(real_array("mine", tensor.detach().cpu().float().numpy()), [1, 1])


def test_arrays_of_a_pytorch_model_fit_under_the_names_that_they_have_here(torch):
    make = Catalog().make
    peer = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(72, 3)
    ).double()
    x = torch.rand(4, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    peer(x)  # moves the running statistics
    peer.eval()
    state = peer.state_dict()
    net = Network.sequential((1, 8, 8), [Conv(2, 3), make("batch-norm"), ReLU(), Flatten(), Dense(3)], rng=0)
    with pytest.raises(UnknownNameError, match=r"with_params: expected a known name, got '0\.weight'; did you mean"):
        net.with_params(state)
    names = {"0": "conv1", "1": "batchnorm1", "4": "dense1"}
    mine = {f"{names[key.partition('.')[0]]}.{key.partition('.')[2]}": array for key, array in state.items()}
    with pytest.raises(UnknownNameError, match=r"'batchnorm1\.running_mean'; give it to network\.with_buffers"):
        net.with_params(mine)
    net = net.with_dtype("float64").with_params({name: mine[name] for name in net.params})
    net = net.with_buffers({name: mine[name] for name in net.buffers})
    with torch.no_grad():
        np.testing.assert_allclose(net.predict(x), peer(x).numpy(), rtol=0, atol=1e-13)
