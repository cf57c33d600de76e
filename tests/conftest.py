"""How hypothesis searches: the same examples every time, or long sweeps from a seed."""

from __future__ import annotations

import os

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
