"""The experiment retie-identity: it holds where it must and fails where it must, and what it says of either."""

import pytest
from simulator_plugins.experiments.retie_identity import _LAYERS, _NET, _TWICE, RetieIdentity

from simulator import Catalog

CATALOG = Catalog()


@pytest.mark.parametrize("layer", _LAYERS)
def test_it_is_an_identity_unless_an_input_is_read_twice(layer):
    (row,) = RetieIdentity().run({"layer": layer, "steps": 1 + (layer != _TWICE)}, 1, CATALOG)
    assert (row["difference"] > 1e-3) if layer == _TWICE else (0 <= row["difference"] < 1e-12)
    assert row["connections"] > row["weights"]
    assert row["multiplicity"] == row["connections"] / row["weights"]


def test_the_rate_is_that_of_the_option():
    condition = {"layer": _NET, "steps": 3}
    small, large = (RetieIdentity(rate=rate).run(condition, 0, CATALOG)[0]["difference"] for rate in (0.01, 0.5))
    assert max(small, large) < 1e-12
    assert small != large


def test_findings():
    table = [{"layer": name, "difference": 1.0 if name == _TWICE else 1e-15} for name in (*_LAYERS, _NET)]
    assert [finding.holds for finding in RetieIdentity().findings(table)] == [True, True]
    table[0]["difference"] = 1e-9
    table[-2]["difference"] = 1e-9
    first, second = RetieIdentity().findings(table)
    assert (first.holds, second.holds, first.measured) == (False, False, "largest difference 1.0e-09")
