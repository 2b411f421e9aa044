"""The list of faults."""

import pytest

from tests.mutants.__main__ import ROOT, planted
from tests.mutants.faults import MODULES


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.faults[0].name)
def test_every_fault_has_its_place(module):
    """Whoever changes the source brings the list up to date."""
    for fault in module.faults:
        assert planted((ROOT / module.path).read_text(), fault)
