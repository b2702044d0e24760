"""The core's own layers, losses, optimizer and engine, offered through the same hooks as any plugin's."""

from __future__ import annotations

from simulator import layers
from simulator.engine import SciPyEngine
from simulator.hookspecs import hookimpl
from simulator.losses import CrossEntropy, SquaredError
from simulator.optimizers import SGD
from simulator.patterns import ExplicitPattern


@hookimpl
def register_layers(register):  # type: ignore[no-untyped-def]
    register("conv", layers.Conv, examples=[(layers.Conv(2, 3, padding=1), (2, 5, 5))])
    register("conv-transpose", layers.ConvTranspose, examples=[(layers.ConvTranspose(2, 3, stride=2), (2, 3, 3))])
    register("locally-connected", layers.LocallyConnected, examples=[(layers.LocallyConnected(2, 3), (2, 5, 5))])
    adaptive = [(layers.AdaptiveAveragePool(2), (2, 5)), (layers.AdaptiveAveragePool((2, 3)), (2, 4, 2))]
    register("adaptive-average-pool", layers.AdaptiveAveragePool, examples=adaptive)
    register("average-pool", layers.AveragePool, examples=[(layers.AveragePool(2), (2, 4, 5))])
    register("max-pool", layers.MaxPool, examples=[(layers.MaxPool(2), (2, 4, 5))])
    register("subsample", layers.Subsample, examples=[(layers.Subsample(2), (2, 4, 5))])
    register("dense", layers.Dense, examples=[(layers.Dense(3), (2, 4))])
    connections = ExplicitPattern([0, 1, 1], [0, 1, 2], [0, 1, 0], shape=(2, 3))
    register("sparse", layers.Sparse, examples=[(layers.Sparse(connections), (3,))])
    register("relu", layers.ReLU)
    register("leaky-relu", layers.LeakyReLU)
    register("sigmoid", layers.Sigmoid)
    register("tanh", layers.Tanh)
    register("scaled-tanh", layers.ScaledTanh)
    register("softmax", layers.Softmax)
    register("log-softmax", layers.LogSoftmax)
    register("standardise", layers.Standardise)
    register("flatten", layers.Flatten)
    register("reshape", layers.Reshape, examples=[(layers.Reshape((4, -1)), (2, 2, 3))])
    register("pad", layers.Pad, examples=[(layers.Pad(2), (2, 3))])
    register("add", layers.Add)
    register("concatenate", layers.Concatenate)


@hookimpl
def register_losses(register):  # type: ignore[no-untyped-def]
    register("cross-entropy", CrossEntropy)
    register("squared-error", SquaredError)


@hookimpl
def register_optimizers(register):  # type: ignore[no-untyped-def]
    register("sgd", SGD)


@hookimpl
def register_engines(register):  # type: ignore[no-untyped-def]
    register("scipy", SciPyEngine)
