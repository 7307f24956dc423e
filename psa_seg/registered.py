"""All that configs name: importing this module registers it.

    custom_imports = dict(imports=["psa_seg.registered"])

Its name stays, whatever moves within the package.
"""

import psa_seg.datasets
import psa_seg.engine.autocast
import psa_seg.engine.hooks
import psa_seg.engine.loop
import psa_seg.engine.val_loss
import psa_seg.evaluation
import psa_seg.models  # noqa: F401
