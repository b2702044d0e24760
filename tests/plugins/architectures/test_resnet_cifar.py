"""The CIFAR nets: published counts, both kinds of skip, and what starts at zero."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import Catalog, ShapeError, UnknownNameError
from simulator.describe import describe
from simulator.equivalence import equivalence

# Params, multiply-adds and nonzeros at 3x32x32 with 10 classes.
PUBLISHED = [
    ("resnet20-cifar", {}, (269_722, 40_551_040, 36_957_504)),
    ("plain20", {}, (269_722, 40_551_040, 36_957_504)),
    ("resnet56-cifar", {}, (853_018, 125_485_696, 113_892_672)),
    ("plain56", {}, (853_018, 125_485_696, 113_892_672)),
    ("resnet20-cifar", {"option": "B"}, (272_474, 40_813_184, 37_219_648)),
    ("resnet56-cifar", {"option": "B"}, (855_770, 125_747_840, 114_154_816)),
]
MILLIONS = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7}  # table 6 of the paper
KINDS = ("resnet{}-cifar", "plain{}")


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


@pytest.mark.parametrize(("name", "options", "counts"), PUBLISHED)
def test_published_counts(catalog, name, options, counts):
    totals = describe(catalog.build(name, classes=10, rng=None, **options)).totals
    assert (totals.params, totals.macs, totals.nonzeros) == counts


@pytest.mark.parametrize(("depth", "millions"), MILLIONS.items())
@pytest.mark.parametrize("kind", KINDS)
def test_params_and_depth_of_the_paper(catalog, kind, depth, millions):
    network = catalog.build(kind.format(depth), rng=None)
    params = describe(network).totals.params
    assert round(params / 1e6, 1 if depth == 110 else 2) == millions
    assert sum(len(shape) > 1 for shape in network.param_shapes.values()) == depth
    pools = [network.nodes[f"stage{stage}-block1-relu2"].shape for stage in (1, 2, 3)]
    assert pools == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]


def test_without_normalisation_each_convolution_has_a_bias(catalog):
    network = catalog.build("resnet20-cifar", rng=None, norm=False)
    biases = [shape for key, shape in network.param_shapes.items() if key.endswith("bias")]
    assert biases == 7 * [(16,)] + 6 * [(32,)] + 6 * [(64,)] + [(10,)]
    assert not any("norm" in name for name in network.nodes)
    projected = catalog.build("resnet20-cifar", rng=None, norm=False, option="B")
    assert set(projected.param_shapes) - set(network.param_shapes) == {
        f"stage{stage}-block1-skip.{key}" for stage in (2, 3) for key in ("weight", "bias")
    }


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("option", ["A", "B"])
def test_a_branch_that_starts_at_zero_leaves_the_skip_alone(catalog, option, norm):
    options = {"option": option, "norm": norm, "width": 0.25, "branch_init": "zeros"}
    network = catalog.build("resnet20-cifar", (1, 8, 8), rng=0, **options)
    trace = network.run(np.random.default_rng(0).normal(size=(2, 1, 8, 8)))
    np.testing.assert_array_equal(trace["stage1-block3-relu2"], trace["relu"])
    stem = trace["relu"]
    if option == "A":
        found = trace["stage3-block3-relu2"]
        assert found.shape == (2, 16, 2, 2)
        np.testing.assert_array_equal(found[:, :4], stem[:, :, ::4, ::4])
        assert not found[:, 4:].any()
    else:
        skip = trace["stage2-block1-skip-norm" if norm else "stage2-block1-skip"]
        np.testing.assert_array_equal(trace["stage2-block1-relu2"], np.maximum(skip, 0))


@pytest.mark.parametrize(("option", "alive"), [("A", 4), ("B", 16)])
def test_behind_branches_of_zeros_only_option_b_trains_all_maps(catalog, option, alive):
    options = {"option": option, "norm": False, "width": 0.25, "branch_init": "zeros"}
    network = catalog.build("resnet20-cifar", (1, 8, 8), rng=0, **options)
    trace = network.run(np.random.default_rng(0).normal(size=(20, 1, 8, 8)))
    gradients = trace.backward(np.random.default_rng(1).normal(size=(20, 10))).params
    moved = np.any(gradients["stage3-block3-conv2.weight"] != 0, axis=(1, 2, 3))
    assert moved.sum() == alive


def test_a_plain_net_is_the_residual_one_without_its_skips(catalog):
    plain = catalog.build("plain32", (1, 8, 8), rng=0, width=0.25)
    residual = catalog.build("resnet32-cifar", (1, 8, 8), rng=0, width=0.25)
    assert set(residual.nodes) - set(plain.nodes) == {
        name for name in residual.nodes if name.endswith(("-add", "-skip"))
    }
    assert plain.params.keys() == residual.params.keys()
    assert all(np.array_equal(plain.params[key], residual.params[key]) for key in plain.params)
    assert len(plain.nodes) == len(list(plain.graph.edges)) + 1  # one chain


@pytest.mark.parametrize("shape", [(2, 6), (3, 5, 4), (1, 3, 4, 5)])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_the_identity_shortcut_is_numpys_slice_and_pad(catalog, shape, stride):
    layer = catalog.make("identity-shortcut", 5, stride=stride)
    x = np.random.default_rng(0).normal(size=shape)
    every = (slice(None), *(slice(None, None, stride) for _ in shape[1:]))
    expected = np.pad(x[every], [(0, 5 - shape[0]), *[(0, 0)] * len(shape[1:])])
    assert layer.output_shape(shape) == expected.shape
    rows, cols, _ = layer.pattern(shape).triplets()
    y = np.zeros(expected.size)
    y[rows] = x.ravel()[cols]
    np.testing.assert_array_equal(y, expected.ravel())
    counts = layer.counts(shape)
    assert (counts.params, counts.nonzeros, counts.fixed_nonzeros) == (0, 0, x[every].size)


def test_the_proof_covers_the_identity_shortcut(catalog):
    network = catalog.build("resnet20-cifar", (1, 8, 8), rng=0, width=0.25, dtype="float64")
    proofs = {proof.name: proof for proof in equivalence(network)}
    for name in ("stage2-block1-skip", "stage3-block1-skip"):
        assert proofs[name].ok
        assert proofs[name].forward == 0


def test_bad_arguments(catalog):
    with pytest.raises(ShapeError, match="resnet20-cifar option: expected 'A' or 'B', got 'C'"):
        catalog.build("resnet20-cifar", rng=None, option="C")
    with pytest.raises(ShapeError, match="plain56: expected an input .* of at least 4 x 4, got"):
        catalog.build("plain56", (3, 3, 3), rng=None)
    with pytest.raises(ShapeError, match="resnet110-cifar width: expected a positive factor, got -1"):
        catalog.build("resnet110-cifar", rng=None, width=-1)
    with pytest.raises(ShapeError, match="resnet20-cifar branch_init: expected 'he', .* or 'zeros', got 'zero'"):
        catalog.build("resnet20-cifar", rng=0, branch_init="zero")
    with pytest.raises(UnknownNameError, match="plain20: expected one of its options, got 'branch_init'"):
        catalog.build("plain20", rng=None, branch_init="zeros")


def test_bad_shortcuts(catalog):
    with pytest.raises(ShapeError, match="identity-shortcut channels: expected at least the 4 of the input, got 3"):
        catalog.make("identity-shortcut", 3).output_shape((4, 8, 8))
    with pytest.raises(ShapeError, match="identity-shortcut: expected an input"):
        catalog.make("identity-shortcut", 3).output_shape((4,))
    with pytest.raises(ShapeError, match="identity-shortcut stride"):
        catalog.make("identity-shortcut", 3, stride=0).output_shape((1, 4))
