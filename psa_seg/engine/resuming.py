"""From which checkpoint a run goes on: the newest that is whole, and of this run."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.config import Config

from psa_seg.checkpoints.reading import config_of, load_checkpoint
from psa_seg.checkpoints.wholeness import damage
from psa_seg.engine import weights
from psa_seg.engine.doctor import check_checkpoint, check_same_run
from psa_seg.engine.run import Run
from psa_seg.engine.work_dir import Claim
from psa_seg.errors import UserError, stop_at
from psa_seg.records.fingerprint import sources


def newest(config: Config, found: Sequence[Path]) -> tuple[Run | None, list[str]]:
    """The run as it goes on from the first checkpoint that is whole and of this run.

    Args:
        config: of the run.
        found: checkpoints, in the order in which they are tried.

    Returns:
        None where there is none; and the names of those that were passed over.

    Raises:
        UserError: where one is whole, and none of this run.
    """
    passed: list[str] = []
    foreign = None
    for path in found:
        wrong = damage(path)
        if not wrong:
            try:
                run = _going_on(config, str(path))
            except UserError as error:
                foreign = foreign or error
                wrong = str(error).partition("\n")[0]
            else:
                return run, passed
        print(f"NOTE: {path} is passed over, and kept: {wrong}")
        passed.append(path.name)
    if foreign:
        raise foreign
    return None, passed


def _going_on(config: Config, path: str) -> Run:
    """The run as it goes on from a checkpoint."""
    config = copy.deepcopy(config)
    checkpoint = load_checkpoint(path)
    if not ("optimizer" in checkpoint and isinstance(checkpoint.get("meta"), Mapping)):
        raise UserError(
            f"{path} holds weights alone, and no state of a training, to resume\n"
            "  do         start from them instead: --cfg-options load_from=..."
        )
    held = (config_of(checkpoint) or {}).get("start") or {}
    named = sources(config)
    here = weights.digests_here(config)  # some may be gone: no file of a start is needed now
    config.start = {key: value for key, value in (held | here).items() if key in named}
    stop_at(check_same_run(config, checkpoint, path))
    stop_at(check_checkpoint(config.model, checkpoint, path, in_order=True))
    return Run(config, Claim(Path()), checkpoint=path, resumed=True)
