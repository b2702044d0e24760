"""The core's own layers, losses, optimizer and engine, offered through the same hooks as any plugin's."""

from __future__ import annotations

from simulator import layers
from simulator.engine import SciPyEngine
from simulator.hookspecs import hookimpl
from simulator.losses import CrossEntropy, SquaredError
from simulator.optimizers import SGD


@hookimpl
def register_layers(register):  # type: ignore[no-untyped-def]
    register("conv", layers.Conv)
    register("conv-transpose", layers.ConvTranspose)
    register("locally-connected", layers.LocallyConnected)
    register("average-pool", layers.AveragePool)
    register("max-pool", layers.MaxPool)
    register("subsample", layers.Subsample)
    register("dense", layers.Dense)
    register("sparse", layers.Sparse)
    register("relu", layers.ReLU)
    register("leaky-relu", layers.LeakyReLU)
    register("sigmoid", layers.Sigmoid)
    register("tanh", layers.Tanh)
    register("scaled-tanh", layers.ScaledTanh)
    register("softmax", layers.Softmax)
    register("log-softmax", layers.LogSoftmax)
    register("flatten", layers.Flatten)
    register("reshape", layers.Reshape)
    register("pad", layers.Pad)
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
