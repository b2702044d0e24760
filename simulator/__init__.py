"""A convolutional net is a fully connected net whose weight matrix is sparse and shared.

Names are imported when they are first used, so that ``import simulator`` and ``simulator --help`` are quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_WHERE = {
    "augmentation": ["Chain", "RandomCrop", "RandomMirror", "RandomShift", "centre_crop", "ten_crops"],
    "averaging": ["average"],
    "building": ["check_image", "narrowed"],
    "catalog": ["Catalog"],
    "channels": ["ChannelGroups"],
    "data": ["Dataset", "Normalise", "one_hot"],
    "engine": ["Engine", "SciPyEngine"],
    "errors": ["FileError", "NotInstalledError", "PluginError", "ShapeError", "SimulatorError", "UnknownNameError"],
    "estimator": ["SimulatorClassifier"],
    "explorer": ["explore"],
    "experiments": ["Experiment", "Finding", "aggregated", "deviations", "with_deviation"],
    "files": ["load", "save"],
    "hookspecs": ["hookimpl"],
    "layers": [
        "AdaptiveAveragePool", "Add", "AveragePool", "Concatenate", "Conv", "ConvTranspose", "Counts", "Dense",
        "Elementwise", "Flatten", "FunctionLayer", "Layer", "LeakyReLU", "LocallyConnected", "LogSoftmax",
        "MatrixLayer", "MaxPool", "Pad", "ReLU", "Reshape", "ScaledTanh", "Sigmoid", "Softmax", "Sparse",
        "Standardise", "Subsample", "Tanh",
    ],
    "losses": ["CrossEntropy", "SquaredError", "accuracy"],
    "matrix": ["TiedMatrix", "identity"],
    "network": ["Gradients", "Network", "Trace"],
    "optimizers": ["SGD", "Clipped", "Grouped"],
    "patterns": ["ExplicitPattern", "IdentityPattern", "Pattern", "WindowPattern"],
    "projective": ["ProjectiveField"],
    "receptive": ["MatrixColumn", "MatrixRow", "ReceptiveField"],
    "schedules": ["CosineDecay", "PlateauDecay", "StepDecay", "WarmUp"],
    "training": ["Epoch", "evaluate", "train"],
    "units": ["Units", "Weight"],
    "windows": ["Window"],
    "workspace": ["Workspace"],
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _WHERE.items() for name in names}

__all__ = sorted(_MODULE_OF.keys() - {"SimulatorClassifier"})  # "import *" must work without scikit-learn

if TYPE_CHECKING:
    from simulator.augmentation import Chain, RandomCrop, RandomMirror, RandomShift, centre_crop, ten_crops
    from simulator.averaging import average
    from simulator.building import check_image, narrowed
    from simulator.catalog import Catalog
    from simulator.channels import ChannelGroups
    from simulator.data import Dataset, Normalise, one_hot
    from simulator.engine import Engine, SciPyEngine
    from simulator.errors import FileError, NotInstalledError, PluginError, ShapeError, SimulatorError, UnknownNameError
    from simulator.estimator import SimulatorClassifier
    from simulator.experiments import Experiment, Finding, aggregated, deviations, with_deviation
    from simulator.explorer import explore
    from simulator.files import load, save
    from simulator.hookspecs import hookimpl
    from simulator.layers import *
    from simulator.losses import CrossEntropy, SquaredError, accuracy
    from simulator.matrix import TiedMatrix, identity
    from simulator.network import Gradients, Network, Trace
    from simulator.optimizers import SGD, Clipped, Grouped
    from simulator.patterns import ExplicitPattern, IdentityPattern, Pattern, WindowPattern
    from simulator.projective import ProjectiveField
    from simulator.receptive import MatrixColumn, MatrixRow, ReceptiveField
    from simulator.schedules import CosineDecay, PlateauDecay, StepDecay, WarmUp
    from simulator.training import Epoch, evaluate, train
    from simulator.units import Units, Weight
    from simulator.windows import Window
    from simulator.workspace import Workspace


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'simulator' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"simulator.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(_MODULE_OF)
