"""What surrounds a run: configuration, checks before it, the runner, the report after it."""

import contextlib
import io
import warnings

# Its import announces optional parts that nothing here uses: not a newcomer's first two lines.
with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
    warnings.simplefilter("ignore")
    import mmseg.datasets
    import mmseg.models  # noqa: F401
