"""Pictures of results and of time, with matplotlib: `pip install 'streamlib[plot]'`.

Each function draws into the axes it is given or into new ones, and returns them: titles, labels and
limits can be changed afterwards, and `ax.figure.savefig("hours.png")` keeps the picture.
"""

from streamlib.plot.watermark import watermark
from streamlib.plot.windows import windows

__all__ = ["watermark", "windows"]
