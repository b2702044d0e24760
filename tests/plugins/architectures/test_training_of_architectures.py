"""Every architecture at full depth trains on real digits: its loss falls below a tenth of where it starts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simulator import Catalog, CosineDecay, evaluate, train

# Name, shape of the input, options, and how it is trained where that differs from the defaults of `losses`.
ROWS = [
    ("lecun1989", (1, 16, 16), {}, {"epochs": 15}),
    ("lenet-caffe", (1, 16, 16), {"width": 1 / 4}, {}),
    ("alexnet", (1, 67, 67), {"width": 1 / 16}, {"optimizer": "adam", "lr": 0.001, "epochs": 25}),
    ("alexnet-ungrouped", (1, 67, 67), {"width": 1 / 16}, {"optimizer": "adam", "lr": 0.001, "epochs": 25}),
    ("alexnet-torchvision", (1, 63, 63), {"width": 1 / 8}, {"optimizer": "adam", "lr": 0.001, "epochs": 20}),
    ("vgg11", (1, 32, 32), {"width": 1 / 16}, {"optimizer": "adam", "lr": 0.002, "epochs": 15}),
    ("vgg13", (1, 32, 32), {"width": 1 / 16}, {"optimizer": "adam", "lr": 0.001, "epochs": 15}),
    ("vgg16", (1, 32, 32), {"width": 1 / 8}, {"optimizer": "adam", "lr": 0.0005, "epochs": 12}),
    ("vgg19", (1, 32, 32), {"width": 1 / 8}, {"optimizer": "adam", "lr": 0.0005, "epochs": 12}),
    ("vgg11-bn", (1, 32, 32), {"width": 1 / 16}, {"optimizer": "adam", "lr": 0.002, "epochs": 12}),
    ("vgg13-bn", (1, 32, 32), {"width": 1 / 16}, {"optimizer": "adam", "lr": 0.002, "epochs": 12}),
    ("vgg16-bn", (1, 32, 32), {"width": 1 / 16}, {"optimizer": "adam", "lr": 0.002, "epochs": 15}),
    ("vgg19-bn", (1, 32, 32), {"width": 1 / 16}, {"optimizer": "adam", "lr": 0.002, "epochs": 20}),
    ("nin-cifar10", (1, 12, 12), {"width": 1 / 4}, {"optimizer": "adam", "lr": 0.002, "epochs": 20}),
    ("nin", (1, 55, 55), {"width": 1 / 8}, {"optimizer": "adam", "lr": 0.002, "epochs": 20}),
    ("all-cnn-c", (1, 12, 12), {"width": 1 / 8}, {"optimizer": "adam", "lr": 0.004, "epochs": 35}),
    ("googlenet", (1, 32, 32), {"width": 1 / 4}, {"epochs": 16, "batch_size": 10}),
    ("googlenet-torchvision", (1, 32, 32), {"width": 1 / 8}, {"epochs": 18, "batch_size": 30}),
    ("resnet18", (1, 32, 32), {"width": 1 / 16}, {"batch_size": 50}),
    ("resnet34", (1, 32, 32), {"width": 1 / 16}, {"epochs": 14, "batch_size": 50}),
    ("resnet50", (1, 32, 32), {"width": 1 / 16}, {"epochs": 14, "batch_size": 50}),
    ("resnet101", (1, 32, 32), {"width": 1 / 16}, {"epochs": 24, "batch_size": 50}),
    ("resnet152", (1, 32, 32), {"width": 1 / 16}, {"epochs": 20, "batch_size": 50}),
    ("resnet50-v1", (1, 32, 32), {"width": 1 / 16}, {"epochs": 14, "batch_size": 50}),
    ("resnet101-v1", (1, 32, 32), {"width": 1 / 16}, {"epochs": 30, "batch_size": 50}),
    ("resnet152-v1", (1, 32, 32), {"width": 1 / 16}, {"epochs": 24, "batch_size": 50}),
    ("resnet20-cifar", (1, 8, 8), {"width": 1 / 4}, {"epochs": 14, "batch_size": 50}),
    ("resnet32-cifar", (1, 8, 8), {"width": 1 / 4}, {"epochs": 14, "batch_size": 50}),
    ("resnet44-cifar", (1, 8, 8), {"width": 1 / 4}, {"epochs": 14, "batch_size": 50}),
    ("resnet56-cifar", (1, 8, 8), {"width": 1 / 4}, {"epochs": 14, "batch_size": 50}),
    ("resnet110-cifar", (1, 8, 8), {"width": 1 / 4}, {"epochs": 14, "batch_size": 50}),
    # Deeper plain nets do not get there, as published: test_depth.py.
    ("plain20", (1, 8, 8), {"width": 1 / 4}, {"epochs": 30, "batch_size": 50}),
    ("plain32", (1, 8, 8), {"width": 1 / 2}, {"epochs": 40, "batch_size": 50}),
    ("plain44", (1, 8, 8), {"width": 1 / 2}, {"optimizer": "adam", "lr": 0.002, "epochs": 60, "batch_size": 50}),
    ("plain56", (1, 8, 8), {"width": 1 / 2}, {"optimizer": "adam", "lr": 0.002, "epochs": 220, "batch_size": 50}),
]


@pytest.fixture(scope="module")
def catalog():
    return Catalog()


def losses(catalog, name, shape, options, samples=300, epochs=10, batch_size=16, optimizer="momentum", lr=None):
    """Loss before and after training, both without dropout and on the digits that it trains on."""
    data = catalog.load_data("digits", shape).take(np.arange(samples))
    network = catalog.build(name, shape, classes=10, **options)
    start = lr or catalog.architectures.entry(name).lr or 0.05
    rate = CosineDecay(start, epochs * math.ceil(samples / batch_size))
    rule = catalog.optimizers[optimizer](rate)
    *_, last = train(network, data, epochs=epochs, batch_size=batch_size, optimizer=rule)
    return evaluate(network, data)["loss"], evaluate(last.network, data)["loss"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "shape", "options", "training"), ROWS, ids=[row[0] for row in ROWS])
def test_the_loss_falls_below_a_tenth(catalog, name, shape, options, training):
    start, end = losses(catalog, name, shape, options, **training)
    guessing = math.log(10)  # a start above it would make the task easier
    assert end < min(start, guessing) / 10
