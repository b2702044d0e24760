"""The sides of a comparison: each computes a case in its own way, and says which numbers came out.

A side is made for a case, or says with `LeftOut` why not, before it takes any memory. `run` is what is timed, `numbers`
turns its result into arrays in the public layout, by kind and name.
"""

from __future__ import annotations

import numpy as np
from simulator_plugins.commands.bench.cases import BACKWARD, FORWARD, STEP
from simulator_plugins.commands.bench.translation import Untranslatable, torch_module, translated

from simulator import SGD, CrossEntropy, SimulatorError, Workspace
from simulator.threads import one_blas_thread

RATE = 0.001  # of gradient descent


class LeftOut(SimulatorError):
    """Why a side does not take part."""


class Simulator:
    """This project: a workspace, as training and prediction use it."""

    turn = staticmethod(one_blas_thread)  # as `train` does for a whole epoch

    def __init__(self, case):
        self.case, self.network = case, case.network
        self._workspace = Workspace(case.network)
        self._rng = np.random.default_rng(0)
        self._loss, self._descent = CrossEntropy(), SGD(RATE)

    def run(self):
        """The trace, and what else there is: gradients, the loss, the network after the step."""
        case, network = self.case, self.network
        if case.what == FORWARD:
            return (self._trace(network),)
        trace = self._trace(network, training=True, rng=self._rng, backward=True)
        if case.what == BACKWARD:
            return trace, trace.backward(case.dy)
        logits = trace[network.output_name]
        loss, gradient = self._loss.value_and_grad(logits, case.labels)
        gradients = trace.backward(gradient, params_only=True)
        params, _ = self._descent.step(network.params, gradients.params, self._descent.init(network.params))
        self.network = network.with_params(params, copy=False).with_buffers(trace.buffers)
        return trace, gradients, loss, self.network

    def _trace(self, network, **options):
        return self._workspace.run(network, self.case.x, **options)

    def numbers(self, result):
        trace, *rest = result
        numbers = {("output", ""): trace[self.case.network.output_name]}
        if rest:
            numbers.update({("gradient", name): array for name, array in rest[0].params.items()})
        if self.case.what == BACKWARD:
            numbers["gradient", "input"] = rest[0].inputs[self.case.network.input_name]
        if self.case.what == STEP:
            _, loss, after = rest
            numbers["loss", ""] = np.array(loss)
            numbers.update({("weight", name): array for name, array in after.params.items()})
            numbers.update({("buffer", name): array for name, array in after.buffers.items()})
        return numbers


class PyTorch:
    """Eager PyTorch: `torch.nn` modules, `F.cross_entropy`, `torch.optim.SGD`."""

    def __init__(self, case):
        try:
            torch = self._torch = torch_module()
            # Weights that are not trained are read where they stand.
            module, self._params, self._buffers = translated(case.network, case.catalog, copy=case.what == STEP)
        except Untranslatable as error:
            raise LeftOut(str(error)) from error
        self._what, self._module = case.what, module.train(case.what != FORWARD)
        self._x, self._dy = (torch.from_numpy(np.ascontiguousarray(a)) for a in (case.x, _given(case)))
        if case.what == STEP:
            self._labels = torch.from_numpy(case.labels)
            self._optimizer = torch.optim.SGD(module.parameters(), lr=RATE)
        elif case.what == BACKWARD:
            self._x.requires_grad_()

    def run(self):
        torch, what = self._torch, self._what
        if what == FORWARD:
            with torch.no_grad():
                return (self._module(self._x),)
        if what == BACKWARD:
            y = self._module(self._x)
            return y, torch.autograd.grad(y, [self._x, *self._params.values()], self._dy)
        self._optimizer.zero_grad()
        y = self._module(self._x)
        loss = torch.nn.functional.cross_entropy(y, self._labels)
        loss.backward()
        self._optimizer.step()
        return y, loss.item()

    def numbers(self, result):
        numbers = {("output", ""): result[0].detach().numpy()}
        if self._what == BACKWARD:
            names = ("input", *self._params)
            numbers.update({("gradient", n): g.numpy() for n, g in zip(names, result[1], strict=True)})
        elif self._what == STEP:
            numbers["loss", ""] = np.array(result[1])
            for name, param in self._params.items():
                numbers["gradient", name], numbers["weight", name] = param.grad.numpy(), param.detach().numpy()
            numbers.update({("buffer", name): buffer.numpy() for name, buffer in self._buffers.items()})
        return numbers


def _given(case):
    """The gradient of the output where one is given."""
    return case.dy if case.what == BACKWARD else np.empty(0)
