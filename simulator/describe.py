"""What a network consists of, counted: the table behind `simulator describe`."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.layers.base import Counts
from simulator.network import Input, Network
from simulator.notebooks import html_table

__all__ = ["Description", "LayerRow", "describe"]


@dataclass(frozen=True)
class LayerRow:
    """One layer, counted.

    Parameters
    ----------
    name : str
        Of the node.
    layer : str
        The layer with its hyper-parameters.
    output_shape : tuple of int
        Of one sample.
    counts : Counts
        Params, connections, links, nonzeros, fixed nonzeros, MACs.
    nonzero_cells : int or None
        Cells of the matrix that have a nonzero: fewer than `counts` says where windows read an input twice, because
        each reading is stored. None without a matrix.
    density : float or None
        Share of the matrix's cells that are nonzero, at most 1.
    csr_bytes, pattern_bytes : int or None
        Bytes of the matrix as CSR, and of its pattern.
    sharing : float or None
        Nonzeros per weight.
    weight_mean, weight_std : float or None
        Of the trained weight, where the network has weights.
    """

    name: str
    layer: str
    output_shape: tuple[int, ...]
    counts: Counts
    nonzero_cells: int | None = None
    density: float | None = None
    csr_bytes: int | None = None
    pattern_bytes: int | None = None
    sharing: float | None = None
    weight_mean: float | None = None
    weight_std: float | None = None

    @property
    def repeats(self) -> bool:
        """Whether a cell of the matrix has several nonzeros."""
        stored = self.counts.nonzeros + self.counts.fixed_nonzeros
        return self.nonzero_cells is not None and self.nonzero_cells < stored

    def as_dict(self) -> dict[str, Any]:
        """Flat, for JSON."""
        flat = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        counts = flat.pop("counts")
        return {**flat, "output_shape": list(self.output_shape), **vars(counts)}


@dataclass(frozen=True)
class Description:
    """All layers of a network and their sums.

    Parameters
    ----------
    layers : tuple of LayerRow
        Every layer in order, inputs left out.
    totals : Counts
        Their sums.
    """

    layers: tuple[LayerRow, ...]
    totals: Counts

    def _repr_html_(self) -> str:
        def counted(counts: Counts) -> tuple[int, ...]:
            stored = counts.nonzeros + counts.fixed_nonzeros
            return counts.params, counts.connections, counts.links, stored, counts.macs

        rows: list[tuple[object, ...]] = []
        for row in self.layers:
            shape = "x".join(map(str, row.output_shape))
            rows.append((row.name, shape, *counted(row.counts), row.density, row.sharing))
        rows.append(("total", "", *counted(self.totals), None, None))
        columns = ("layer", "output", "params", "connections", "links", "nonzeros", "MACs", "density")
        return html_table("Description", (*columns, "nonzeros per weight"), rows, left=2)

    def as_dict(self) -> dict[str, Any]:
        """With the keys `layers` and `totals`, for JSON."""
        return {"layers": [row.as_dict() for row in self.layers], "totals": vars(self.totals)}


def describe(network: Network) -> Description:
    """Count a network; weights are not needed, and no matrix is built.

    Parameters
    ----------
    network : Network
        With or without weights; with them the rows tell their mean and spread, too.

    Returns
    -------
    Description

    Examples
    --------
    >>> from simulator.layers import Conv
    >>> describe(Network.sequential((1, 28, 28), [Conv(6, kernel=5, padding=2)])).totals
    Counts(params=156, connections=112440, links=122304, nonzeros=107736, fixed_nonzeros=0, macs=117600)
    """
    rows = []
    totals = Counts()
    for node in network.nodes.values():
        if isinstance(node.layer, Input):
            continue
        counts = node.counts
        totals += counts
        row = LayerRow(node.name, repr(node.layer), node.shape, counts)
        pattern = node.pattern
        if pattern is not None:
            row = dataclasses.replace(
                row,
                nonzero_cells=pattern.nonzero_cells,
                density=pattern.density,
                csr_bytes=pattern.csr_nbytes(network.dtype),
                pattern_bytes=pattern.nbytes,
                sharing=pattern.nnz / max(1, pattern.n_ties),
            )
        weight = network.node(node.name).params.get("weight") if network.has_weights else None
        if weight is not None:
            mean, std = _spread(weight.reshape(-1))
            row = dataclasses.replace(row, weight_mean=mean, weight_std=std)
        rows.append(row)
    return Description(tuple(rows), totals)


def _spread(weight: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of a weight (n,), block by block, because it may be half of the memory."""
    mean = float(weight.mean(dtype=np.float64))
    blocks = (weight[start : start + 2**20] for start in range(0, len(weight), 2**20))
    return mean, math.sqrt(sum(float(np.sum(np.square(block - mean))) for block in blocks) / len(weight))
