"""streamlib: describe a stream once, run it as a stream, as a batch, in a notebook.

A flow is a value. An operator is a deterministic state machine over Arrow batches. A runner only
decides when to call it.
"""

from typing import TYPE_CHECKING

from streamlib import operators, windows
from streamlib.core.errors import StreamlibError
from streamlib.core.expressions import (
    Expr,
    coalesce,
    col,
    concat_str,
    evaluate,
    event_time,
    format,
    lit,
    max_horizontal,
    min_horizontal,
    struct,
    udf,
    when,
)
from streamlib.core.on_demand import on_demand as _on_demand
from streamlib.core.policies import dead_letter, retry
from streamlib.core.secrets import Secret, secret
from streamlib.core.settings import Settings
from streamlib.core.watermarks import bounded_disorder, monotone
from streamlib.operators import (
    Stream,
    count,
    max,
    mean,
    min,
    read,
    sum,
)
from streamlib.plan.flow import Flow
from streamlib.plan.launch import Job, JobResult, Preview, Stats
from streamlib.plan.launch import Launcher as _Launcher
from streamlib.plan.launch import register as _register

if TYPE_CHECKING:
    from streamlib import connectors, formats, plot
    from streamlib.operators import (
        all,
        any,
        approx_count_distinct,
        arg_max,
        arg_min,
        collect,
        count_distinct,
        first,
        last,
        median,
        quantile,
        std,
        var,
    )
    from streamlib.runners.dead_letters import read_dead_letters
    from streamlib.runners.redriving import redrive
else:
    __getattr__, __dir__ = _on_demand(
        __name__,
        {
            "streamlib.operators": (
                "all",
                "any",
                "approx_count_distinct",
                "arg_max",
                "arg_min",
                "collect",
                "count_distinct",
                "first",
                "last",
                "median",
                "quantile",
                "std",
                "var",
            ),
            "streamlib.runners.dead_letters": ("read_dead_letters",),
            "streamlib.runners.redriving": ("redrive",),
        },
        modules=("connectors", "formats", "plot"),
    )

__version__ = "0.1.0"


def _local_launcher() -> _Launcher:
    from streamlib.runners.launcher import LocalLauncher  # noqa: PLC0415 - only a run needs the runners

    return LocalLauncher()


_register(_local_launcher)

__all__ = [
    "Expr",
    "Flow",
    "Job",
    "JobResult",
    "Preview",
    "Secret",
    "Settings",
    "Stats",
    "Stream",
    "StreamlibError",
    "all",
    "any",
    "approx_count_distinct",
    "arg_max",
    "arg_min",
    "bounded_disorder",
    "coalesce",
    "col",
    "collect",
    "concat_str",
    "connectors",
    "count",
    "count_distinct",
    "dead_letter",
    "evaluate",
    "event_time",
    "first",
    "format",
    "formats",
    "last",
    "lit",
    "max",
    "max_horizontal",
    "mean",
    "median",
    "min",
    "min_horizontal",
    "monotone",
    "operators",
    "plot",
    "quantile",
    "read",
    "read_dead_letters",
    "redrive",
    "retry",
    "secret",
    "std",
    "struct",
    "sum",
    "udf",
    "var",
    "when",
    "windows",
]
