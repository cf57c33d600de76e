"""How hypothesis searches: the same examples every time, or long sweeps from a seed."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# No deadline: on a busy machine a slow example is no defect, and `timeout` bounds the whole test.
settings.register_profile("default", derandomize=True, deadline=None, max_examples=100)
# `make test-real` gives the seed, so that a run can be repeated; SEED=n looks elsewhere.
settings.register_profile(
    "long",
    deadline=None,
    max_examples=1000,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("STREAMLIB_TEST_PROFILE", "default"))


LONG = ("test_simulator.py",)  # single tests of a minute: begun last, they would leave the other worker idle


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest tests."""
    items.sort(key=lambda item: item.path.name not in LONG)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what tests recorded as `report`: figures that a reader of the run should see."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == "report" and report.when == "call":
                    terminalreporter.write_sep("-", report.nodeid.rpartition("::")[2])
                    terminalreporter.write_line(value)
