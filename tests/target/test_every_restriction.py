"""Each restriction by a minimal model that runs into it and one that just misses it.

The models are in ``restriction_cases.txt``. Each is judged as users' models are, with inference of
types and constants, at both ends of the interval of its entry, and at the releases beside it.
"""

from __future__ import annotations

import pytest
from restriction_uses import CASES, ENTRIES, NOWHERE, Case, Use

from onnx_fix.target import NodeFacts, TensorFacts, load_target
from onnx_fix.target.data import Release
from onnx_fix.target.dispatch import stock_plugins
from onnx_fix.target.dtypes import NAMES
from onnx_fix.target.kinds import EVALUATORS, Hits
from onnx_fix.target.restrictions import restrictions_of


def hits(entry: str, release: str, use: Use) -> Hits | None:
    """What an entry says at a release; None where it does not hold."""
    place = Release.named(release)
    active = restrictions_of(place, stock_plugins(place))
    found = [r for listed in active.values() for r in listed if r.entry["id"] == entry]
    if not found:
        return None
    return found[0].hits(use.facts(release), load_target(release).dtype_names)


def test_every_entry_has_a_case() -> None:
    named = [case.entry for case in CASES]
    assert sorted(set(named)) == sorted(named), "an entry has two cases"
    assert set(named) == set(ENTRIES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.entry)
def test_a_model_runs_into_the_entry(case: Case) -> None:
    entry, use = ENTRIES[case.entry], Use(case.op, case.hit)
    for release in case.releases:
        if entry["effect"] == "none":
            assert hits(case.entry, release, use) is None
            assert EVALUATORS[entry["kind"]](entry, use.facts(release), NAMES)
            continue
        found = hits(case.entry, release, use)
        assert found, release
        settled = Release.named(release).settle(entry)
        assert all(hit.certain for hit in found) is settled.get("certain", True), release
        verdict = load_target(release).judge(use.facts(release))
        # Where the op has no importer, a stock plugin of its name takes the node.
        kinds = {"stock_plugin": "needs_plugin"}
        said = {kinds.get(finding.kind, finding.kind) for finding in verdict.findings}
        assert entry["kind"] in said, release


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.entry)
def test_a_model_just_misses_the_entry(case: Case) -> None:
    entry = ENTRIES[case.entry]
    if case.miss == NOWHERE:
        bare = NodeFacts(case.op, "", "n", "", 20, (), (TensorFacts("y"),), {})
        assert EVALUATORS[entry["kind"]](entry, bare, NAMES), "a use misses the entry: write it"
        assert case.outside
        return
    use = Use(case.op, case.miss)
    for release in case.releases:
        found = hits(case.entry, release, use)
        assert not found, release
        if entry["effect"] == "none":
            assert not EVALUATORS[entry["kind"]](entry, use.facts(release), NAMES)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.outside], ids=lambda case: case.entry
)
def test_other_releases_miss_the_entry(case: Case) -> None:
    use = Use(case.op, case.hit)
    for release in case.outside:
        if release in ENTRIES[case.entry].get("also_on", ()):
            continue
        assert hits(case.entry, release, use) is None, release
