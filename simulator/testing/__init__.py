"""The contracts as programs: every promise of a layer, loss, optimizer or other offer is checked.

With this module one can

- check a layer of one's own in one call, ``check_layer(Swish(), (2, 5, 5))``, and likewise the other kinds of plugin;
- hand a layer's promises to pytest one by one::

    @pytest.mark.parametrize("name, check", layer_checks(Swish(), (2, 5, 5)))
    def test_swish(name, check):
        check()
"""

from simulator.testing.judging import ContractError
from simulator.testing.layers import check_layer, layer_checks
from simulator.testing.others import (
    check_architecture,
    check_dataset,
    check_engine,
    check_experiment,
    check_loss,
    check_optimizer,
)
from simulator.testing.plugins import plugin_checks

__all__ = [
    "ContractError",
    "check_architecture",
    "check_dataset",
    "check_engine",
    "check_experiment",
    "check_layer",
    "check_loss",
    "check_optimizer",
    "layer_checks",
    "plugin_checks",
]
