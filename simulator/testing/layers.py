"""The promises of a layer, one small check each."""

from __future__ import annotations

import ast
import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from simulator.engine import Engine, SciPyEngine
from simulator.errors import NotInstalledError, ShapeError, brief
from simulator.layers import FunctionLayer, Layer, LeakyReLU, MatrixLayer, ReLU
from simulator.layers.base import Shape
from simulator.matrix import TiedMatrix
from simulator.network import BoundNode, Network, Rng, Trace, as_rng
from simulator.patterns import Pattern
from simulator.testing.judging import (
    DTYPES,
    EXACT,
    SINGLE,
    ContractError,
    flat,
    judging,
    require,
    same,
    same_each,
    same_slope,
    shown,
)
from simulator.workspace import Workspace

USUAL_SHAPES: tuple[Shape, ...] = ((2, 5, 5), (3, 4), (4,), (2, 3, 3, 3))  # tried on every layer


@dataclass(frozen=True, eq=False)
class Case:
    """A layer on trial in a network of float64, with random weights, three samples, and a gradient of its output."""

    layer: Layer
    input_shapes: tuple[Shape, ...]  # of one sample of each input
    engine: Engine
    seed: int  # draws weights, samples and the gradient

    def normal(self, shape: Shape, salt: int) -> np.ndarray:
        return np.random.default_rng([self.seed, salt]).standard_normal(shape)

    def place(self, *shapes: Shape, first: bool = False) -> Network:
        """The layer as node "layer": first in its network, or after copies of the inputs, which it could overwrite."""
        network = Network.input(shapes[0], "x0", dtype=np.float64, engine=self.engine)
        for k, shape in enumerate(shapes[1:], start=1):
            network = network.add_input(shape, f"x{k}")
        names = network.inputs
        if not first:
            for name in names:
                network = network.add(LeakyReLU(1.0), name, name=f"copy-{name}")
            names = tuple(f"copy-{name}" for name in names)
        return network.add(self.layer, *names, name="layer", rng=self.seed)

    @cached_property
    def network(self) -> Network:
        network = self.place(*self.input_shapes)
        network = network.with_params({name: self.normal(shape, 1) for name, shape in network.param_shapes.items()})
        return network.with_buffers(network.run(self.x, training=True, rng=self.seed).buffers)

    @property
    def node(self) -> BoundNode:
        return self.network.node("layer")

    @cached_property
    def x(self) -> dict[str, np.ndarray]:
        return {f"x{k}": self.normal((3, *shape), 2 + k) for k, shape in enumerate(self.input_shapes)}

    @cached_property
    def dy(self) -> np.ndarray:
        return self.normal(self.run()["layer"].shape, 0)

    def run(self, training: bool = False) -> Trace:
        return self.network.run(self.x, training=training, rng=self.seed)

    def objective(self, training: bool, name: str, array: np.ndarray) -> float:
        """sum(dy * output) with another array for one input or param."""
        network = self.network if name in self.x else self.network.with_params({name: array})
        x = {**self.x, name: array} if name in self.x else self.x
        return float(np.sum(self.dy * network.run(x, training=training, rng=self.seed)["layer"]))

    def connections(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Rows, columns and ties of a matrix layer, each (links,), and what they multiply, (n_in + 1, batch).

        The pad value is the last input unit; taps on padding are connected to it.
        """
        node = self.node.node
        rows, cols, ties = self.node.pattern.triplets()
        x = np.vstack([flat(self.x["x0"]), np.full((1, 3), getattr(self.layer, "pad_value", 0))])
        if node.padding is not None:
            taps, _, tap_ties = node.padding.triplets()
            rows, ties = np.append(rows, taps), np.append(ties, tap_ties)
            cols = np.append(cols, np.full(len(taps), len(x) - 1))
        return rows, cols, ties, x


def check_frozen(case: Case) -> None:
    """A layer is a frozen dataclass."""
    params = getattr(case.layer, "__dataclass_params__", None)
    require(params is not None and params.frozen, "@dataclass(frozen=True)", params)


def check_equality(case: Case) -> str | None:
    """Layers with equal fields are equal, and have one hash where their fields have one."""
    layer: Any = case.layer
    twin = dataclasses.replace(layer)
    require(twin == layer, "a layer with equal fields to be equal", "a different one")
    try:
        hash(tuple(vars(layer).values()))
    except TypeError:
        return "a field cannot be hashed"
    require(hash(twin) == hash(layer), "one hash for equal layers", "two")
    return None


def check_arguments(case: Case) -> None:
    """A layer stores its arguments unchanged."""
    layer: Any = case.layer
    given = {f.name: getattr(layer, f.name) for f in dataclasses.fields(layer) if f.init}
    given = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    stored = type(layer)(**given)
    for name, value in given.items():
        require(getattr(stored, name) is value, f"{name} {value!r} as given", repr(getattr(stored, name)))


def check_repr(case: Case) -> str | None:
    """The repr, a call with plain values, rebuilds the layer."""
    layer = case.layer
    if any(isinstance(value, Pattern) for value in vars(layer).values()):
        return "it holds a pattern, which compares by identity"
    call: Any = ast.parse(repr(layer), mode="eval").body
    require(call.func.id == type(layer).__name__, f"a call of {type(layer).__name__}", call.func.id)
    options = {k.arg: ast.literal_eval(k.value) for k in call.keywords}
    rebuilt = type(layer)(*map(ast.literal_eval, call.args), **options)
    require(rebuilt == layer, "an equal layer from the repr", repr(rebuilt))
    return None


def check_output_shape(case: Case) -> None:
    """The output has the shape that output_shape promises, and is finite."""
    promised = case.layer.output_shape(*case.input_shapes)
    for training in (False, True):
        y = case.run(training)["layer"]
        require(y.shape == (3, *promised), f"three samples of shape {promised}", f"an array {y.shape}")
        wild = y[~np.isfinite(y)]
        require(not wild.size, "finite outputs for finite inputs", f"{wild.size} of {y.size} that are not")


def check_other_shapes(case: Case) -> str | None:
    """For inputs of any other shape the layer is right, too, or output_shape raises a ShapeError."""
    first, *others = case.input_shapes
    try:
        check_shapes(case, *case.input_shapes)
    except (ContractError, ShapeError):
        return "it is not right for its own shape either"
    longer, deeper = (*first, 2), (first[0] + 1, *first[1:])
    changed = [first[:1], first[1:], longer, deeper, (first[0], *(1 for _ in first[1:])), (1,) * 6]
    usual = [tuple(shape for _ in case.input_shapes) for shape in USUAL_SHAPES]
    for shapes in (*((shape, *others) for shape in changed), *usual):
        try:
            check_shapes(case, *shapes)
        except ShapeError:
            continue
        except ContractError as error:
            axes, start = len(first), "make the layer right for such an input, or begin output_shape with"
            test = f"if len(input_shapes[0]) != {axes}: raise ShapeError('expected an input of {axes} axes')"
            cure = f"{start} a test that raises a ShapeError" if len(shapes[0]) == axes else f"{start}: {test}"
            raise ContractError(str(error), cure) from None
    return None


def check_shapes(case: Case, *shapes: Shape) -> None:
    """A ShapeError if the layer refuses these shapes of a sample, a ContractError if it is not right for them either.

    Right is: the output has the promised shape and is finite, and each of two samples has alone the output and the
    gradient that it has beside the other.
    """
    given, network = ", ".join(map(str, shapes)), None
    try:
        for shape in shapes:
            Network.input(shape)  # refuses what no network has
        case.layer.output_shape(*shapes)  # a network makes a ShapeError of any error
        network = case.place(*shapes)
        x = {name: case.normal((2, *network.node(name).shape), 1) for name in network.inputs}
        trace = network.run(x)
        y = trace["layer"]
        require(np.isfinite(y).all(), f"finite outputs for {given}", "others")
        together = {"output": y, **trace.backward(y).inputs}
        for k in range(2):
            one = slice(k, k + 1)
            alone = network.run({name: array[one] for name, array in x.items()})
            got = {"output": alone["layer"], **alone.backward(y[one]).inputs}
            want = {name: array[one] for name, array in together.items()}
            same_each(f"for one of two samples {given} alone,", got, want, EXACT)
    except BaseException as error:
        refused = network is None and isinstance(error, ShapeError)
        if refused or isinstance(error, (ContractError, KeyboardInterrupt, GeneratorExit, NotInstalledError)):
            raise
        wanted = f"an output for {given}, or a ShapeError from output_shape"
        raise ContractError(f"expected {wanted}, got {brief(error.__cause__ or error)}") from None


def check_params(case: Case) -> None:
    """First params have the promised names and shapes, one seed gives one result, and buffers have the dtype, too."""
    layer, shapes = case.layer, case.input_shapes
    for dtype in DTYPES:
        params, again = (layer.init_params(np.random.default_rng(case.seed), *shapes, dtype=dtype) for _ in range(2))
        got, promised = {name: array.shape for name, array in params.items()}, layer.param_shapes(*shapes)
        require(got == promised, f"params {promised}", got)
        same_each("from one seed", again, params)
        for name, array in {**params, **layer.init_buffers(*shapes, dtype=dtype)}.items():
            require(array.dtype == dtype, f"{name} of {dtype}", array.dtype)


def check_buffers(case: Case) -> None:
    """Buffers keep names and shapes, and change in training only."""
    before = case.network.buffers
    same_each("without training, buffer", case.run().buffers, before)
    got, shapes = ({k: v.shape for k, v in b.items()} for b in (case.run(training=True).buffers, before))
    require(got == shapes, f"after training, buffers {shapes}", got)


def check_unchanged(case: Case) -> None:
    """Forward and pullback change neither inputs, params, buffers nor the gradient that they are given."""
    network = case.network
    before = {name: array.copy() for name, array in {**network.params, **network.buffers}.items()}
    for training in (False, True):
        trace = case.run(training)
        gradients = trace.backward(case.dy)
        same_each("unchanged", {name: trace[f"copy-{name}"] for name in case.x}, case.x)
        same_each("unchanged", {**network.params, **network.buffers}, before)
        same("unchanged dy", gradients.activations["layer"], case.dy)


def check_pullback_twice(case: Case) -> None:
    """A pullback may be called again, also after another run."""
    for training in (False, True):
        trace = case.run(training)
        first = trace.backward(case.dy)
        case.network.run({name: -x for name, x in case.x.items()}, training=training, rng=1).backward(-case.dy)
        second = trace.backward(case.dy)
        same_each("once more, gradient", {**second.inputs, **second.params}, {**first.inputs, **first.params})


def check_seed(case: Case) -> None:
    """One seed gives one result in training; outside of it nothing is random."""
    for training in (False, True):
        first, second = ({**t.buffers, "output": t["layer"]} for t in (case.run(training), case.run(training)))
        same_each("once more,", second, first)


def check_batch(case: Case) -> None:
    """Outside training the samples of a batch do not know of each other."""
    trace = case.run()
    together = {"output": trace["layer"], **trace.backward(case.dy).inputs}
    for k in range(3):
        one = slice(k, k + 1)
        alone = case.network.run({name: x[one] for name, x in case.x.items()})
        got = {"output": alone["layer"], **alone.backward(case.dy[one]).inputs}
        same_each(f"for sample {k} alone,", got, {name: array[one] for name, array in together.items()}, EXACT)


def check_empty_batch(case: Case) -> None:
    """A batch without samples gives an empty output, and gradients of zero for the params."""
    x = {name: array[:0] for name, array in case.x.items()}
    zeros = {name: np.zeros(shape) for name, shape in case.network.param_shapes.items()}
    for training in (False, True):
        trace = case.network.run(x, training=training, rng=case.seed)
        gradients = trace.backward(case.dy[:0])
        got = {"output": trace["layer"], **gradients.inputs, **gradients.params}
        same_each("of an empty batch,", got, {"output": case.dy[:0], **x, **zeros})
        require(all(np.isfinite(b).all() for b in trace.buffers.values()), "finite buffers", trace.buffers)


def check_input_kinds(case: Case) -> None:
    """Integers, float16, other memory orders and read-only arrays count as the numbers that they hold."""
    whole = {name: np.rint(4 * x) for name, x in case.x.items()}
    expected = case.network.run(whole)["layer"]
    network = case.place(*case.input_shapes, first=True)  # it sees read-only arrays, too
    network = network.with_params(case.network.params).with_buffers(case.network.buffers)
    kinds: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "integers": lambda x: x.astype(np.int64),
        "float16": lambda x: x.astype(np.float16),
        "Fortran order": lambda x: x.copy(order="F"),
        "every second sample": lambda x: np.repeat(x, 2, axis=0)[::2],
    }
    for what, changed in kinds.items():
        given = {name: changed(x) for name, x in whole.items()}
        for array in given.values():
            array.flags.writeable = False
        same(f"for {what} the output", network.run(given)["layer"], expected, EXACT)


def check_dtype(case: Case) -> None:
    """float32 stays float32, float64 stays float64, and both give the same output."""
    for dtype in DTYPES:
        network = case.network.with_dtype(dtype)
        for training in (False, True):
            trace = network.run(case.x, training=training, rng=case.seed)
            gradients = trace.backward(case.dy)
            arrays = {"output": trace["layer"], **trace.buffers, **gradients.inputs, **gradients.params}
            if isinstance(case.layer, FunctionLayer):  # a network would cast what it gives
                arrays.update(_given(case.layer, network, case, training))
            for name, array in arrays.items():
                require(array.dtype == dtype, f"{name} of {dtype}", array.dtype)
        same(f"in {dtype} the output", network.run(case.x)["layer"], case.run()["layer"], SINGLE)


def _given(layer: FunctionLayer, network: Network, case: Case, training: bool) -> dict[str, np.ndarray]:
    """What a layer itself gives, before anything is cast."""
    bound, rng = network.node("layer"), as_rng(case.seed) if training else None
    xs, dy = ([np.moveaxis(x, 0, -1).astype(network.dtype) for x in arrays] for arrays in (case.x.values(), [case.dy]))
    y, pullback, buffers = layer.forward(bound.params, bound.buffers, *xs, training=training, rng=rng)
    dxs, grads = pullback(*dy)
    return {"output": y, **buffers, **{f"gradient of x{k}": dx for k, dx in enumerate(dxs)}, **grads}


def check_input_gradients(case: Case) -> None:
    """The pullback gives the gradients of the inputs, as central differences do."""
    for training in (False, True):
        gradients = case.run(training).backward(case.dy).inputs
        for name, x in case.x.items():
            same_slope(f"gradient of {name}", gradients[name], partial(case.objective, training, name), x)


def check_param_gradients(case: Case) -> None:
    """The pullback gives the gradient of every param, as central differences do."""
    for training in (False, True):
        gradients, params = case.run(training).backward(case.dy).params, case.network.params
        require(set(gradients) == set(params), f"gradients of {sorted(params)}", sorted(gradients))
        for name, array in params.items():
            same_slope(f"gradient of {name}", gradients[name], partial(case.objective, training, name), array)


def check_workspace(case: Case) -> None:
    """A workspace, where the engine may use kernels of its own, computes what a run of the network does."""
    for dtype, tolerance in zip(DTYPES, (SINGLE, EXACT), strict=True):
        alone = case.network.with_dtype(dtype)
        for network in (alone, alone.add(ReLU(), "layer", name="end")):
            workspace = Workspace(network)
            for training, batch in ((t, b) for t in (False, True) for b in (3, 0, 3)):
                x = {name: array[:batch] for name, array in case.x.items()}
                traces = (
                    network.run(x, training=training, rng=case.seed),
                    workspace.run(network, x, training=training, rng=case.seed, backward=True),
                )
                found = [{"output": trace[network.output_name], **trace.buffers} for trace in traces]
                for trace, arrays in zip(traces, found, strict=True):
                    gradients = trace.backward(case.dy[:batch])
                    arrays.update({f"gradient of {k}": g for k, g in {**gradients.inputs, **gradients.params}.items()})
                same_each(f"in {dtype} with {batch} samples,", found[1], found[0], tolerance)


def check_affine(case: Case) -> str | None:
    """affine_at gives the matrices and the offset with which the layer computes this sample and its gradient."""
    trace = case.run()
    gradients = trace.backward(case.dy).inputs
    for k in range(3):
        affine = case.node.affine_at(*(x[k] for x in case.x.values()))
        if affine is None:
            return "it gives no matrix for one sample"
        matrices, y = affine
        for matrix, (name, x) in zip(matrices, case.x.items(), strict=True):
            y = y + matrix @ x[k].ravel()
            same(f"transposed times dy, {name}", matrix.T @ case.dy[k].ravel(), gradients[name][k].ravel(), EXACT)
        same("A x + b", y, trace["layer"][k].ravel(), EXACT)
    return None


def check_support(case: Case) -> str | None:
    """Outside of training an output unit depends on no other input units than support() says."""
    if isinstance(case.layer, MatrixLayer):
        return "its pattern says so"
    units = np.unique(np.linspace(0, math.prod(case.node.shape) - 1, 64).astype(int))
    x = {name: array[:1].repeat(len(units), axis=0) for name, array in case.x.items()}  # one output unit per sample
    dy = np.zeros((len(units), math.prod(case.node.shape)))
    dy[np.arange(len(units)), units] = 1
    gradients = case.network.run(x).backward(dy.reshape(-1, *case.node.shape)).inputs
    for pattern, (name, gradient) in zip(case.node.node.support, gradients.items(), strict=True):
        if pattern is None:
            return "it may depend on all units"
        for unit, row in zip(units, gradient.reshape(len(units), -1), strict=True):
            others = np.setdiff1d(np.flatnonzero(row), pattern.row(int(unit))[0])
            require(not len(others), f"unit {unit} to depend on no other units of {name}", f"{others[:5]} with slopes")
    return None


def check_counts(case: Case) -> None:
    """counts() adds up: params from their shapes, nonzeros from the pattern, connections no more than links."""
    counts = case.layer.counts(*case.input_shapes)
    params = sum(math.prod(shape) for shape in case.layer.param_shapes(*case.input_shapes).values())
    require(counts.params == params, f"{params} params", counts.params)
    require(counts.nonzeros <= counts.connections <= counts.links, "nonzeros <= connections <= links", counts)
    if isinstance(case.layer, MatrixLayer):
        n_out, nnz = case.node.matrix.shape[0], case.node.matrix.tocsr().nnz
        bias = n_out * ("bias" in case.node.params)
        trained = (nnz, 0, nnz + bias) if "weight" in case.node.params else (0, nnz, bias)
        got = (counts.nonzeros, counts.fixed_nonzeros, counts.connections)
        require(got == trained, f"nonzeros, fixed ones and connections {trained}", got)


def check_pattern(case: Case) -> None:
    """Triplets, rows, columns, transpose and CSR matrix tell of the same connections, with a tie for each weight."""
    layer: Any = case.layer
    units = (math.prod(layer.output_shape(*case.input_shapes)), math.prod(*case.input_shapes))
    pattern, again = layer.pattern(*case.input_shapes), layer.pattern(*case.input_shapes)
    require(pattern.shape == units, f"a pattern of shape {units}", pattern.shape)
    weights = math.prod(layer.weight_shape(*case.input_shapes))
    require(pattern.n_ties == weights, f"{weights} ties, as many as weights", pattern.n_ties)
    require(pattern.nnz <= pattern.links, f"at least {pattern.nnz} links", pattern.links)
    same("once more, triplets", again.triplets(), pattern.triplets())
    rows, cols, ties = pattern.triplets()
    transposed, swapped = np.array(pattern.T.triplets()), np.array([cols, rows, ties])
    in_order = [t[:, np.lexsort(t[::-1])] for t in (transposed, swapped)]
    same("transposed triplets", in_order[0], in_order[1])
    for p in (pattern, pattern.T):
        rows, cols, ties = p.triplets()
        by_column = np.argsort(cols, kind="stable")
        require(len(rows) == p.nnz, f"{p.nnz} connections, as nnz says", len(rows))
        require(np.all(np.diff(rows) >= 0), "triplets in row order", rows)
        require(np.all((ties >= 0) & (ties < p.n_ties)), f"ties from 0 to {p.n_ties - 1}", ties)
        csr = TiedMatrix(p, np.arange(p.n_ties)).tocsr()
        csr_rows = np.repeat(np.arange(p.shape[0]), np.diff(csr.indptr))
        same("tocsr's triplets", (csr_rows, csr.indices, csr.data), (rows, cols, ties))
        for i, own in enumerate(np.split(np.arange(p.nnz), np.searchsorted(rows, np.arange(1, p.shape[0])))):
            same(f"row {i}", p.row(i), (cols[own], ties[own]))
        for j, own in enumerate(np.split(by_column, np.searchsorted(cols[by_column], np.arange(1, p.shape[1])))):
            same(f"column {j}", p.column(j), (rows[own], ties[own]))


def check_matrix(case: Case) -> None:
    """The output is the sum over all connections of weight times input, plus the bias; pad values are inputs, too."""
    rows, cols, ties, x = case.connections()
    y = np.zeros((case.node.matrix.shape[0], 3))
    np.add.at(y, rows, case.node.matrix.weight.ravel()[ties, None] * x[cols])
    bias = case.node.params.get("bias", np.zeros(1))
    y += np.repeat(bias.ravel(), len(y) // bias.size)[:, None]
    same("output", flat(case.run()["layer"]), y, EXACT)


def check_weight_gradient(case: Case) -> str | None:
    """The gradient of a weight is the sum of dy times x over the connections that share it."""
    if "weight" not in case.node.params:
        return "its weight is fixed"
    rows, cols, ties, x = case.connections()
    gradient = np.zeros(case.node.matrix.weight.size)
    np.add.at(gradient, ties, np.sum(flat(case.dy)[rows] * x[cols], axis=1))
    got = case.run().backward(case.dy).params["layer.weight"]
    same("gradient", got, gradient.reshape(got.shape), EXACT)
    return None


def check_dot(case: Case) -> None:
    """The dot test: <W x, dy> = <x, Wᵀ dy>."""
    matrix, x, dy = case.node.matrix, flat(case.x["x0"]), flat(case.dy)
    forward, back = case.engine.apply(matrix, x), case.engine.apply_transposed(matrix, dy)
    same("<x, Wᵀ dy>", np.vdot(x, back), np.vdot(forward, dy), EXACT)


ALONE = "check_frozen", "check_equality", "check_arguments", "check_repr"  # of the layer, whatever it is given


LAYER_CHECKS: tuple[Callable[[Case], str | None], ...] = (
    check_frozen, check_equality, check_arguments, check_repr, check_output_shape, check_other_shapes, check_params,
    check_buffers, check_unchanged, check_pullback_twice, check_seed, check_batch, check_empty_batch, check_input_kinds,
    check_dtype, check_input_gradients, check_param_gradients, check_workspace, check_affine, check_support,
    check_counts,
)  # fmt: skip


MATRIX_CHECKS: tuple[Callable[[Case], str | None], ...] = check_pattern, check_matrix, check_weight_gradient, check_dot


def on_trial(layer: Layer, *input_shapes: Shape, engine: Engine | None = None, rng: Rng = 0) -> Case:
    return Case(layer, input_shapes, engine or SciPyEngine(), int(as_rng(rng).integers(2**32)))


def layer_checks(
    layer: Layer, *input_shapes: Shape, engine: Engine | None = None, rng: Rng = 0
) -> list[tuple[str, Callable[[], str | None]]]:
    """The promises of a layer, one by one.

    Parameters
    ----------
    layer : Layer
        The layer on trial.
    *input_shapes : shape
        Of one sample of each input, (channels, *space); small ones are quick.
    engine : Engine, default `SciPyEngine`
        Which engine multiplies.
    rng : numpy.random.Generator or int, default 0
        Draws weights and samples.

    Returns
    -------
    list of (str, callable)
        Name and check. A check raises a `ContractError` if the promise is not kept, and returns None or, where the
        promise does not apply to this layer, the reason.

    Examples
    --------
    >>> from simulator import ReLU
    >>> [name for name, check in layer_checks(ReLU(), (2,)) if "gradient" in name]
    ['check_input_gradients', 'check_param_gradients']
    """
    case = on_trial(layer, *input_shapes, engine=engine, rng=rng)

    def judged(check: Callable[[Case], str | None]) -> str | None:
        promise = (check.__doc__ or "").rstrip(".")
        with judging(check.__name__, f"{shown(layer)} on {', '.join(map(str, input_shapes))}", promise):
            return check(case)

    checks = LAYER_CHECKS + MATRIX_CHECKS if isinstance(layer, MatrixLayer) else LAYER_CHECKS
    return [(check.__name__, partial(judged, check)) for check in checks]


def check_layer(layer: Layer, *input_shapes: Shape, engine: Engine | None = None, rng: Rng = 0) -> None:
    """Check every promise that a layer makes.

    Parameters
    ----------
    layer, *input_shapes, engine, rng
        As for `layer_checks`.

    Raises
    ------
    ContractError
        If a promise is not kept; one line for each, with the check, the layer, what was expected and what came.

    Examples
    --------
    >>> from simulator import Conv
    >>> check_layer(Conv(2, kernel=3, padding=1), (1, 5, 5))
    """
    broken = []
    for _, check in layer_checks(layer, *input_shapes, engine=engine, rng=rng):
        try:
            check()
        except ContractError as error:
            broken.append(str(error))
    if broken:
        raise ContractError("\n".join(broken))
