"""What the tests of optimizers share: a race against PyTorch, and a walk that watches for broken promises."""

import numpy as np
import pytest

from simulator import CosineDecay, WarmUp
from simulator.schedules import learning_rate

SHAPES = {"conv1.weight": (3, 2, 2, 2), "conv1.bias": (3,), "dense.weight": (2, 12)}
SCHEDULE = WarmUp(CosineDecay(0.1, steps=50, end=0.01), steps=5)


def walk(rule, steps, dtype):
    """Every (params, gradients, state) on the way, gradients from 0.001 to 30, all arrays read-only."""
    rng = np.random.default_rng(0)
    params = {name: rng.standard_normal(shape).astype(dtype) for name, shape in SHAPES.items()}
    scales = {name: 10 ** rng.uniform(-3, 1, shape) for name, shape in SHAPES.items()}
    state = rule.init(params)
    for step in range(steps):
        grads = {
            name: (scales[name] * (p + np.sin(step / 5) + 0.5 * rng.standard_normal(p.shape))).astype(dtype)
            for name, p in params.items()
        }
        for value in (*params.values(), *grads.values(), *state.values()):
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
        yield params, grads, state
        params, state = rule.step(params, grads, state)
    yield params, {}, state


@pytest.fixture(params=[0.05, SCHEDULE], ids=["constant", "schedule"])
def lr(request):
    """A learning rate: a number, or one that changes with the step."""
    return request.param


@pytest.fixture
def race(torch, agree):
    """Assert that 50 steps are those of PyTorch: ``race(rule, torch_optimizer, **torch_options)``."""

    def run(rule, kind, **options):
        theirs = None
        for step, (params, grads, _) in enumerate(walk(rule, 50, np.float64)):
            if theirs is None:
                theirs = {name: torch.nn.Parameter(torch.tensor(p)) for name, p in params.items()}
                optimizer = kind(theirs.values(), lr=1.0, **options)
            for name, p in theirs.items():
                agree(params[name], p.detach().numpy(), 1e-10)
                p.grad = torch.tensor(grads[name]) if grads else None
            optimizer.param_groups[0]["lr"] = learning_rate(rule.lr, step)
            optimizer.step()

    return run


@pytest.fixture
def keeps_its_state():
    """Assert that a rule keeps keys, shapes and single precision of its state: ``keeps_its_state(rule, *kinds)``."""

    def run(rule, *kinds):
        for step, (params, _, state) in enumerate(walk(rule, 4, np.float32)):
            assert {p.dtype for p in params.values()} == {np.dtype(np.float32)}
            assert state.pop("step") == step
            expected = {f"{kind}.{name}": (shape, np.float32) for kind in kinds for name, shape in SHAPES.items()}
            assert {key: (value.shape, value.dtype) for key, value in state.items()} == expected
            state["step"] = step

    return run
