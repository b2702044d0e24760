"""The layers that the core names; every other one is a plugin."""

from simulator.layers.activations import Elementwise, LeakyReLU, LogSoftmax, ReLU, ScaledTanh, Sigmoid, Softmax, Tanh
from simulator.layers.adaptive import AdaptiveAveragePool
from simulator.layers.base import Counts, FunctionLayer, Layer, MatrixLayer
from simulator.layers.convolution import Conv, ConvTranspose, LocallyConnected
from simulator.layers.dense import Dense, Sparse
from simulator.layers.pooling import AveragePool, MaxPool, Subsample
from simulator.layers.scaling import Standardise
from simulator.layers.shaping import Add, Concatenate, Flatten, Pad, Reshape

__all__ = [
    "AdaptiveAveragePool",
    "Add",
    "AveragePool",
    "Concatenate",
    "Conv",
    "ConvTranspose",
    "Counts",
    "Dense",
    "Elementwise",
    "Flatten",
    "FunctionLayer",
    "Layer",
    "LeakyReLU",
    "LocallyConnected",
    "LogSoftmax",
    "MatrixLayer",
    "MaxPool",
    "Pad",
    "ReLU",
    "Reshape",
    "ScaledTanh",
    "Sigmoid",
    "Softmax",
    "Sparse",
    "Standardise",
    "Subsample",
    "Tanh",
]
