"""streamlib: describe a stream once, run it as a stream, as a batch, in a notebook.

A flow is a value. An operator is a deterministic state machine over Arrow batches. A runner only
decides when to call it.
"""

from streamlib import connectors, operators, plot, windows
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
from streamlib.core.policies import dead_letter, retry
from streamlib.core.secrets import Secret, secret
from streamlib.core.settings import Settings
from streamlib.core.watermarks import bounded_disorder, monotone
from streamlib.operators import (
    Stream,
    all,
    any,
    approx_count_distinct,
    arg_max,
    arg_min,
    collect,
    count,
    count_distinct,
    first,
    last,
    max,
    mean,
    median,
    min,
    quantile,
    read,
    std,
    sum,
    var,
)
from streamlib.plan.flow import Flow
from streamlib.plan.launch import Job, JobResult, Preview, Stats
from streamlib.plan.launch import register as _register
from streamlib.runners.dead_letters import read_dead_letters
from streamlib.runners.launcher import LocalLauncher as _LocalLauncher

__version__ = "0.1.0"

_register(_LocalLauncher())

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
