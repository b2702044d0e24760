"""The experiment counts: it is exact, and says so only where it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulator_plugins.experiments import counts

from simulator import Catalog, aggregated
from simulator.testing import check_experiment

CATALOG = Catalog()


def table(quick):
    trial = CATALOG.experiments["counts"]()
    rows = [{**condition, **trial.run(condition, 0, CATALOG)[0]} for condition in trial.conditions(quick)]
    return aggregated(rows, ["network"])


def test_every_published_integer_is_exact():
    rows = table(quick=False)
    assert len(rows) == 28
    numbers = 0
    for row in rows:
        for name in ("params", "links", "MACs", "nonzeros"):
            published = row[f"known {name}"]
            if published is not None:
                assert type(row[name]) is int
                assert row[name] == published, (row["network"], name)
                numbers += 1
    assert numbers == 28 + 2 + 24 + 25
    findings = CATALOG.experiments["counts"]().findings(rows)
    assert all(finding.holds for finding in findings)
    assert {finding.claim: finding.expected for finding in findings} == {
        "params of 28 networks": "the published integers",
        "links of 2 networks": "the published integers",
        "MACs of 24 networks": "the published integers",
        "nonzeros of 25 networks": "the integers counted by other means",
    }


def test_the_readme_says_how_many_counts_are_known():
    numbers = zip(*(numbers for _, _, *numbers in counts._PUBLISHED.values()), strict=True)
    params, *others = (sum(n is not None for n in column) for column in numbers)
    known = "known counts of {} networks: params of all, links of {}, MACs of {}, nonzeros of {}"
    assert params == len(counts._PUBLISHED)
    assert known.format(params, *others) in (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")


def test_it_knows_the_numbers_of_the_papers():
    rows = {row["network"]: row for row in table(quick=True)}
    assert rows["lecun1989"]["links"] == 64_660
    assert rows["lecun1989"]["params"] == 9_760
    assert rows["lenet5-1998"]["links"] == 340_908
    assert rows["lenet5-1998"]["params"] == 60_000
    assert all(row["params"] < 3e6 for row in rows.values())


def test_a_wrong_number_is_found(monkeypatch):
    architecture, options, *numbers = counts._PUBLISHED["lenet5"]
    monkeypatch.setitem(counts._PUBLISHED, "lenet5", (architecture, options, numbers[0] + 1, *numbers[1:]))
    findings = {finding.claim: finding for finding in CATALOG.experiments["counts"]().findings(table(quick=True))}
    params = findings["params of 12 networks"]
    assert not params.holds
    assert params.measured == "11 of 12 exactly; lenet5 61,706 for 61,707"
    assert findings["MACs of 10 networks"].holds


@pytest.mark.slow
def test_it_keeps_its_promises():
    check_experiment(CATALOG, CATALOG.experiments["counts"]())
