"""Adaptive average pooling against PyTorch, against its matrix, and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import AdaptiveAveragePool, AveragePool, Counts, Network, ShapeError
from simulator.describe import describe
from simulator.equivalence import equivalence

cases = st.integers(1, 3).flatmap(
    lambda ndim: st.tuples(*[st.lists(st.integers(1, 6), min_size=ndim, max_size=ndim).map(tuple)] * 2)
)


@given(cases, st.integers(1, 3))
def test_it_is_what_pytorch_computes(torch, agree, case, channels):
    space, out = case  # also outputs that are longer than the input
    network = Network.sequential((channels, *space), [AdaptiveAveragePool(out)], dtype="float64")
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((2, *shape)) for shape in (network.input_shape, network.output_shape))
    trace = network.run(x)
    theirs = torch.tensor(x, requires_grad=True)
    y = getattr(torch.nn.functional, f"adaptive_avg_pool{len(space)}d")(theirs, out if len(out) > 1 else out[0])
    y.backward(torch.tensor(dy))
    agree(trace[network.output_name], y.detach().numpy())
    agree(trace.backward(dy).inputs["input"], theirs.grad.numpy())


@given(cases)
def test_it_equals_its_matrix(case):
    space, out = case
    network = Network.sequential((2, *space), [AdaptiveAveragePool(out)], dtype="float64")
    (proof,) = equivalence(network)
    assert proof.ok, proof
    csr = network.node(network.output_name).matrix.tocsr()
    np.testing.assert_allclose(csr.sum(axis=1), 1, rtol=1e-14)
    assert describe(network).totals == Counts(fixed_nonzeros=csr.nnz)


def test_by_hand():
    network = Network.sequential((1, 5), [AdaptiveAveragePool(2)], dtype="float64")
    assert network.predict([[[1, 2, 3, 4, 11]]]).tolist() == [[[2, 6]]]  # both windows read the middle
    longer = Network.sequential((1, 2), [AdaptiveAveragePool(3)], dtype="float64")
    assert longer.predict([[[2, 4]]]).tolist() == [[[2, 3, 4]]]
    np.testing.assert_array_equal(longer.node("adaptiveaveragepool1").matrix.tocsr().toarray()[1], [0.5, 0.5])


def test_it_is_the_identity_where_sizes_agree_and_a_plain_average_where_they_divide():
    same = Network.sequential((2, 3, 4), [AdaptiveAveragePool((3, 4))], dtype="float64")
    np.testing.assert_array_equal(same.node("adaptiveaveragepool1").matrix.tocsr().toarray(), np.eye(24))
    adaptive, plain = AdaptiveAveragePool(2), AveragePool((3, 2))
    assert adaptive.fixed_weight((2, 6, 4)) == plain.fixed_weight((2, 6, 4)) == 1 / 6
    for mine, theirs in zip(adaptive.pattern((2, 6, 4)).csr, plain.pattern((2, 6, 4)).csr, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_wrong_sizes_are_refused():
    with pytest.raises(ShapeError, match="adaptive-average-pool out: expected an integer of at least 1, got 0; give"):
        AdaptiveAveragePool(0).output_shape((1, 4))
    with pytest.raises(ShapeError, match=r"adaptive-average-pool out: expected one integer or 2 of them .* write for "):
        AdaptiveAveragePool((2, 2, 2)).output_shape((1, 4, 4))
    with pytest.raises(ShapeError, match=r"adaptive-average-pool: expected an input \(channels, \*space\), got \(4,\)"):
        AdaptiveAveragePool(2).output_shape((4,))
    with pytest.raises(ShapeError, match=r"AdaptiveAveragePool\(out=1000000\) on .* use a smaller input or output"):
        AdaptiveAveragePool(1_000_000).pattern((1, 2**40))
