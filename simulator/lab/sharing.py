"""Sharing on whole networks: loosened without changing the function, trained further, tightened again.

With this module one can

- give every connection a weight of its own (`untie`), or every cell of the matrices (`densify`);
- project the weights back onto the ties of another network (`retie`).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable

import numpy as np
import scipy

from simulator.errors import ShapeError, UnknownNameError, brief, nearest
from simulator.layers import Dense, Layer, MatrixLayer, Sparse
from simulator.layers.base import Bias
from simulator.matrix import TiedMatrix
from simulator.memory import check_memory
from simulator.network import BoundNode, Network
from simulator.patterns import LARGEST_CSR, ExplicitPattern, Pattern

__all__ = ["check_loosening", "densify", "retie", "untie"]

Layers = str | Iterable[str] | None


def untie(network: Network, layers: Layers = None) -> Network:
    """The network with one weight for each connection and one bias for each unit: nothing is shared any more.

    As a matrix: the nonzeros of W, each a weight of its own; what stood on the padding goes to the biases.

    Parameters
    ----------
    network : Network
        With weights.
    layers : str or iterable of str, optional
        Names or patterns such as "conv*" of the layers to loosen. Default: all matrices with trained weights.

    Returns
    -------
    Network
        It computes the same function with layers `Sparse` of the same names, and can be trained and saved as it is. A
        layer that used another one's weights gets its own. `Dense` layers stay as they are.

    Raises
    ------
    UnknownNameError
        If a name or pattern fits no such layer.
    ShapeError
        If a matrix would be too large, before any is built, or a name is no text.
    SimulatorError
        If the network has no weights.

    Notes
    -----
    A pad value p other than 0 has no nonzero. The weights of a unit's taps on the padding add p·Σθ to its bias, and
    what is trained from there is this one number.

    Examples
    --------
    >>> from simulator.layers import Conv, ReLU
    >>> net = Network.sequential((1, 8, 8), [Conv(4, kernel=3), ReLU(), Dense(10)], rng=0)
    >>> net.node("conv1").matrix
    TiedMatrix 144 x 64: 1296 nonzeros share 36 weights
    >>> untie(net).node("conv1").matrix
    TiedMatrix 144 x 64: 1296 nonzeros, 1296 weights, none shared
    >>> untie(net, "conv*")
    Network 3 layers, 2890 params: (1, 8, 8) -> (10,)
    """
    return _loosened(network, layers, "untie", dense=False)


def densify(network: Network, layers: Layers = None) -> Network:
    """The network with fully connected layers in place of its matrices: every cell is a weight, the zeros too.

    As a matrix: W itself, each cell a weight of its own.

    Parameters
    ----------
    network, layers
        As for `untie`.

    Returns
    -------
    Network
        It computes the same function with layers `Dense` of the same names and output shapes.

    Raises
    ------
    UnknownNameError, ShapeError, SimulatorError
        As for `untie`.

    References
    ----------
    S. d'Ascoli, L. Sagun, J. Bruna, G. Biroli, "Finding the needle in the haystack with convolutions", 2019.

    Examples
    --------
    >>> from simulator.layers import Conv, ReLU
    >>> net = Network.sequential((1, 8, 8), [Conv(4, kernel=3), ReLU(), Dense(10)], rng=0)
    >>> densify(net).node("conv1")
    conv1: Dense(out=(4, 6, 6), bias='unit', init='he') -> (4, 6, 6)
    """
    return _loosened(network, layers, "densify", dense=True)


def retie(network: Network, like: Network) -> Network:
    """The network that shares its weights as another one does, as near as possible.

    As a matrix: θ = S⁺ vec(W), the least squares solution of smallest norm.

    Parameters
    ----------
    network : Network
        With weights.
    like : Network
        The same nodes with the layers to go back to; its weights, if any, do not matter.

    Returns
    -------
    Network
        With the layers of `like`. Those that are equal in both keep their weights.

    Raises
    ------
    ShapeError
        If the networks do not have the same nodes, or a layer of `network` is no matrix where one is wanted.
    SimulatorError
        If the network has no weights.

    Notes
    -----
    Where no window reads an input twice, a weight becomes the mean over the connections that share it; then a step
    along the untied gradient, retied, is the tied step with the rate of each weight divided by the number of its
    connections: (SᵀS)⁻¹. A bias becomes the mean over its units of what is left of theirs after the weights have
    brought the pad value; where `like` has no bias, that is dropped. A weight without a connection becomes 0: with a
    pad value other than 0 one that only ever reads padding (locally connected layers have such) brought something,
    which only a bias for each unit can keep.

    References
    ----------
    R. Pogodin, Y. Mehta, T. Lillicrap, P. Latham, "Towards biologically plausible convolutional networks", 2021.

    Examples
    --------
    >>> from simulator.layers import Conv
    >>> net = Network.sequential((1, 8, 8), [Conv(4, kernel=3)], rng=0)
    >>> back = retie(untie(net), net)
    >>> back.node("conv1").layer == net.node("conv1").layer
    True
    >>> bool(np.allclose(back.params["conv1.weight"], net.params["conv1.weight"]))
    True
    """
    check_alike(network, like, "retie")
    params = {}
    for owner, nodes in by_owner(like.node(name) for name in like.nodes).items():
        same = all(_uses(network.node(node.name)) == _uses(node) for node in nodes)
        own = network.node(owner).params if same else _retied(network, nodes)
        params.update({f"{owner}.{key}": array for key, array in own.items()})
    tied = like.with_dtype(network.dtype).with_engine(network.engine)
    return tied.with_params(params, copy=False).with_buffers(network.buffers)


def check_alike(network: Network, like: Network, who: str) -> None:
    """Refuse networks that differ in more than their layers.

    Parameters
    ----------
    network, like : Network
        To compare.
    who : str
        Whom the error names.

    Raises
    ------
    ShapeError
        If names, shapes or inputs of their nodes differ.
    """

    def seen(nodes: Network) -> dict[str, str]:
        return {n.name: f"{n.name} {n.shape} after {', '.join(n.inputs) or 'nothing'}" for n in nodes.nodes.values()}

    mine, wanted = seen(network), seen(like)
    for name in {**wanted, **mine}:
        if mine.get(name) != wanted.get(name):
            raise ShapeError(
                f"{who}: expected two networks of the same nodes, got {mine.get(name, 'nothing')} where the other one "
                f"has {wanted.get(name, 'nothing')}; give the network that this one was made from"
            )


def matrices(network: Network) -> list[BoundNode]:
    """The nodes that are a matrix with trained weights."""
    layers = ((name, node.layer) for name, node in network.nodes.items())
    return [network.node(name) for name, layer in layers if isinstance(layer, MatrixLayer) and layer.trained]


def by_owner(nodes: Iterable[BoundNode]) -> dict[str, list[BoundNode]]:
    """The nodes with trained arrays, by the name of the one that holds them."""
    groups: dict[str, list[BoundNode]] = {}
    for node in nodes:
        if node.param_shapes:
            groups.setdefault(node.owner, []).append(node)
    return groups


def stacked(network: Network, nodes: list[BoundNode]) -> tuple[TiedMatrix, Pattern]:
    """What `TiedMatrix.retied` needs for the layers of another network that have one weight.

    Parameters
    ----------
    network : Network
        With the weights to project.
    nodes : list of BoundNode
        Of the other network.

    Returns
    -------
    TiedMatrix, Pattern
        The matrix and the pattern to project it onto; of several nodes block by block.
    """
    matrices, patterns = [network.node(node.name).matrix for node in nodes], [node.pattern for node in nodes]
    if len(nodes) == 1:
        return matrices[0], patterns[0]
    *starts, shape = np.cumsum([(0, 0), *(pattern.shape for pattern in patterns)], axis=0).tolist()
    blocks = [pattern.triplets() for pattern in patterns]
    rows = np.concatenate([row + first for (row, _, _), (first, _) in zip(blocks, starts, strict=True)])
    cols = np.concatenate([col + first for (_, col, _), (_, first) in zip(blocks, starts, strict=True)])
    ties = np.concatenate([tie for _, _, tie in blocks])
    onto = ExplicitPattern(rows, cols, ties, shape=tuple(shape), n_ties=patterns[0].n_ties)
    return TiedMatrix.from_sparse(scipy.sparse.block_diag([matrix.tocsr() for matrix in matrices], format="csr")), onto


def _loosened(network: Network, layers: Layers, who: str, dense: bool) -> Network:
    """The network with other layers for the chosen ones, or all, that have the same matrices."""
    chosen = _chosen(network, layers, who)
    check_loosening(network, layers, dense=dense)
    kinds: dict[str, Layer] = {}
    params = {}
    for node in chosen:
        kinds[node.name], own = _loose(node, dense)
        params.update({f"{node.name}.{key}": array for key, array in own.items()})
    return _with_layers(network, kinds, params)


def _loose(node: BoundNode, dense: bool) -> tuple[Layer, dict[str, np.ndarray]]:
    """A layer with the same matrix in which nothing is shared, and its weights."""
    if isinstance(node.layer, Dense):
        return node.layer, node.params
    matrix = node.matrix.densified() if dense else node.matrix.untied()
    bias: Bias = "unit" if "bias" in node.params or node.node.padding else False
    layer = Dense(node.shape, bias) if dense else Sparse(matrix.pattern, node.shape, bias)
    params = {"weight": matrix.weight}
    if bias:
        params["bias"] = offset(node)
    return layer, params


def offset(node: BoundNode) -> np.ndarray:
    """What a matrix layer adds to each unit, in the shape of its output: the bias, and what the pad value brings."""
    bias = node.params.get("bias", np.zeros(1, node.matrix.dtype))
    return bias.reshape(*bias.shape, *(1,) * (len(node.shape) - bias.ndim)) + _from_padding(node, node.matrix.weight)


def _from_padding(node: BoundNode, weight: np.ndarray) -> np.ndarray:
    """What the pad value adds to each unit, in the shape of the output; zeros for 0."""
    if node.node.padding is None:
        return np.zeros(node.shape, weight.dtype)
    value = np.full(1, node.layer.pad_value, weight.dtype)  # type: ignore[attr-defined]
    return (TiedMatrix(node.node.padding, weight) @ value).reshape(node.shape)


def _retied(network: Network, nodes: list[BoundNode]) -> dict[str, np.ndarray]:
    """Weight and bias that layers of one weight get from the matrices of a network."""
    matrix, onto = stacked(network, nodes)
    weight = matrix.retied(onto).weight
    own = {"weight": weight.reshape(nodes[0].param_shapes["weight"])}
    if "bias" in nodes[0].param_shapes:
        left = []
        for node in nodes:
            rest = offset(network.node(node.name)) - _from_padding(node, weight)
            left.append(rest.reshape(*node.param_shapes["bias"], -1))
        own["bias"] = np.concatenate(left, axis=-1).mean(axis=-1)
    return own


def _chosen(network: Network, layers: Layers, who: str) -> list[BoundNode]:
    """The nodes that names or patterns stand for."""
    nodes = matrices(network)
    if layers is None:
        return nodes
    patterns = [layers] if isinstance(layers, str) or not isinstance(layers, Iterable) else list(layers)
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise ShapeError(f"{who} layers: expected names or patterns, got {brief(pattern)}; write 'conv*'")
        if not any(fnmatch.fnmatchcase(node.name, pattern) for node in nodes):
            raise UnknownNameError(
                f"{who} layers: expected a matrix with trained weights, got {brief(pattern)}; "
                f"{nearest(pattern, [node.name for node in nodes])}"
            )
    return [node for node in nodes if any(fnmatch.fnmatchcase(node.name, pattern) for pattern in patterns)]


def check_loosening(network: Network, layers: Layers = None, *, dense: bool) -> None:
    """Refuse to loosen a sharing where that would not fit into memory, from shapes alone: also without weights.

    Parameters
    ----------
    network : Network
        With or without weights.
    layers : str or iterable of str, optional
        As for `untie` and `densify`.
    dense : bool
        Whether zeros become weights, too, as `densify` does it.

    Raises
    ------
    ShapeError
        If a matrix, or all together, would be too large.
    UnknownNameError
        If there is no such layer.

    Examples
    --------
    >>> from simulator.layers import Conv
    >>> check_loosening(Network.sequential((64, 224, 224), [Conv(64, kernel=3)]), dense=False)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    simulator.errors.ShapeError: untie conv1: expected a matrix of at most 4,294,967,296 bytes, got ...
    """
    total, who = 0, "densify" if dense else "untie"
    for node in _chosen(network, layers, who):
        if isinstance(node.layer, Dense):
            continue
        n_out, n_in = node.pattern.shape
        need = n_out * n_in * network.dtype.itemsize if dense else node.pattern.csr_nbytes(network.dtype)
        if need > LARGEST_CSR:
            what = f"{n_out:,} x {n_in:,} cells" if dense else f"{node.pattern.nnz:,} connections"
            raise ShapeError(
                f"{who} {node.name}: expected a matrix of at most {LARGEST_CSR:,} bytes, got {what} of {need:,} bytes; "
                "name smaller layers, or build the network for smaller inputs"
            )
        total += need
    need = 4 * total + (0 if network.has_weights else network.weight_bytes)
    check_memory(need, who, "name fewer layers, or build the network for smaller inputs")


def _with_layers(network: Network, kinds: dict[str, Layer], params: dict[str, np.ndarray]) -> Network:
    """The network with some layers replaced, and their params; what shared weights with one of them holds its own."""
    new: Network | None = None
    owners: dict[str, str] = {}
    for name, node in network.nodes.items():
        if node.inputs:
            assert new is not None
            owner = name if name in kinds else owners.setdefault(node.owner, name)
            layer = kinds.get(name, node.layer)
            new = new.add(layer, *node.inputs, name=name, share=None if owner == name else owner)
        elif new is None:
            new = Network.input(node.shape, name, dtype=network.dtype, engine=network.engine)
        else:
            new = new.add_input(node.shape, name)
    assert new is not None
    for name in owners.values():
        params.update({f"{name}.{key}": array for key, array in network.node(name).params.items()})
    new = new.with_params(params, copy=False).with_buffers(network.buffers)
    return new if new.outputs == network.outputs else new.subnetwork(network.outputs)


def _uses(node: BoundNode) -> tuple[Layer, str]:
    """What nodes with the same weights have in common."""
    return node.layer, node.owner
