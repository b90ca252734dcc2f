"""Pictures of the results, and of the theory beside what was measured.

What draws one takes `path`, of the PNG that it writes, `title`, the question, and, if need be,
`subtitle`, on what it was measured. It returns the figure, and raises OSError where `path` cannot
be written.
"""

import contextlib
import os
import sys

if (_backend := os.environ.get("MPLBACKEND")) and "matplotlib" not in sys.modules:
    # Jupyter and Colab hand their backend to every command that they start, and where it is not
    # installed, matplotlib refuses to be imported. Our pictures need none but Agg; the notebook's
    # own keep theirs where it is installed.
    del os.environ["MPLBACKEND"]
    import matplotlib

    os.environ["MPLBACKEND"] = _backend
    with contextlib.suppress(ValueError):
        matplotlib.rcParams["backend"] = _backend
