"""How far weights have moved from the sharing of another network: off its pattern, and within its ties."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy

from simulator.lab.sharing import by_owner, check_alike, matrices, stacked
from simulator.layers import Dense
from simulator.matrix import TiedMatrix
from simulator.network import Network
from simulator.patterns import Pattern

__all__ = ["Deviation", "off_pattern", "tie_variance"]


@dataclass(frozen=True)
class Deviation:
    """How far weights have moved from the sharing of another network, from 0 to 1.

    Parameters
    ----------
    layers : dict of str to float
        By name, for each layer that could have moved.
    total : float
        For all of them together.
    """

    layers: dict[str, float]
    total: float

    @classmethod
    def of(cls, parts: dict[str, tuple[float, float]]) -> Deviation:
        """From a part and a whole for each layer."""
        part, whole = (math.fsum(sizes) for sizes in zip((0.0, 0.0), *parts.values(), strict=True))
        return cls({name: _fraction(*sizes) for name, sizes in parts.items()}, _fraction(part, whole))


def off_pattern(network: Network, like: Network) -> Deviation:
    """The fraction of the squared weights that stand outside of another network's connections.

    Parameters
    ----------
    network : Network
        With weights, such as `densify` gave and training changed.
    like : Network
        The same nodes with the connections to compare with; its weights, if any, do not matter.

    Returns
    -------
    Deviation
        For each layer that is not fully connected in `like`. Its square roots are ratios of norms, as d'Ascoli et al.
        report them.

    Raises
    ------
    ShapeError
        If the networks do not have the same nodes, or a layer is no matrix where one is wanted.

    References
    ----------
    S. d'Ascoli, L. Sagun, J. Bruna, G. Biroli, "Finding the needle in the haystack with convolutions", 2019.

    Examples
    --------
    >>> from simulator.lab import densify
    >>> from simulator.layers import Conv
    >>> net = Network.sequential((1, 8, 8), [Conv(4, kernel=3)], rng=0)
    >>> off_pattern(densify(net), net)
    Deviation(layers={'conv1': 0.0}, total=0.0)
    """
    check_alike(network, like, "off_pattern")
    parts = {}
    for node in matrices(like):
        mask = None if isinstance(node.layer, Dense) else _mask(node.pattern)
        if mask is not None and mask.nnz < mask.shape[0] * mask.shape[1]:
            cells = _cells(network.node(node.name).matrix)
            parts[node.name] = _squares(cells - cells.multiply(mask)), _squares(cells)
    return Deviation.of(parts)


def tie_variance(network: Network, like: Network) -> Deviation:
    """The fraction of the variance of weights that lies within another network's ties.

    Parameters
    ----------
    network : Network
        With weights, such as `untie` gave and training changed.
    like : Network
        The same nodes with the ties to compare with; its weights, if any, do not matter.

    Returns
    -------
    Deviation
        For each layer that shares weights in `like`, by the name of the node that holds them: 0 where all connections
        of each weight are equal, 1 where the ties explain nothing. Connections outside of the pattern do not count.

    Raises
    ------
    ShapeError
        If the networks do not have the same nodes, or a layer is no matrix where one is wanted.

    Notes
    -----
    Over the connections of a layer Σ(w − Sθ)² / Σ(w − mean)² with θ as `retie` finds it: the means over the ties, where
    no cell has several. A layer whose connections are all equal has no variance, which counts as 0.

    Examples
    --------
    >>> from simulator.lab import untie
    >>> from simulator.layers import Conv
    >>> net = Network.sequential((1, 8, 8), [Conv(4, kernel=3)], rng=0)
    >>> round(tie_variance(untie(net), net).total, 12)
    0.0
    """
    check_alike(network, like, "tie_variance")
    parts = {}
    for owner, nodes in by_owner(matrices(like)).items():
        if len(nodes) == 1 and nodes[0].pattern.nnz == nodes[0].pattern.used_ties:
            continue
        matrix, onto = stacked(network, nodes)
        mask = _mask(onto)
        cells = _cells(matrix).multiply(mask)
        rest = cells - (cells.sum(dtype=np.float64) / mask.nnz) * mask
        varied = _squares(rest) > 1e-24 * _squares(cells)  # else equal to rounding
        parts[owner] = (_squares(cells - _cells(matrix.retied(onto))), _squares(rest)) if varied else (0.0, 0.0)
    return Deviation.of(parts)


def _cells(matrix: TiedMatrix) -> scipy.sparse.csr_array:
    """The matrix with one entry for each cell."""
    cells = matrix.tocsr()
    cells.sum_duplicates()
    return cells


def _mask(pattern: Pattern) -> scipy.sparse.csr_array:
    """1 in each cell where a pattern has connections."""
    mask = _cells(TiedMatrix(pattern, np.ones(pattern.n_ties)))
    mask.data[:] = 1
    return mask


def _squares(cells: scipy.sparse.csr_array) -> float:
    return float(cells.power(2).sum(dtype=np.float64))


def _fraction(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
