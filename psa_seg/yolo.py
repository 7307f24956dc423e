"""The `yolo` command of Ultralytics, to which our layer and model files are known.

    python -m psa_seg.yolo train model=configs/yolo/yolov10n-psa.yaml data=coco8.yaml epochs=1

Modes, tasks and arguments are Ultralytics' own: `python -m psa_seg.yolo help`.
"""

import sys
import traceback
from pathlib import Path

from psa_seg.errors import UserError
from psa_seg.integrations.ultralytics import register

LOOKING = tuple(
    f"/ultralytics/{name}.py"
    for name in (
        *("cfg/__init__", "engine/model", "utils/__init__", "utils/checks"),
        *("utils/torch_utils", "nn/tasks"),
    )
)


def main() -> None:
    """Run the command; a user's mistake is printed once, as a message, and the exit status is 2."""
    try:
        register()
        from ultralytics.cfg import entrypoint

        entrypoint()
    except Exception as error:
        message = _message(error)
        if not message:
            raise
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)


def _message(error: BaseException | None) -> str:
    """What an error says that a user can mend; empty for any other."""
    while error is not None:
        if isinstance(error, UserError | FileNotFoundError | SyntaxError) or _is_theirs(error):
            return str(error).strip()
        error = error.__cause__
    return ""


def _is_theirs(error: BaseException) -> bool:
    """Whether Ultralytics raised it on purpose, where it looks at arguments and files."""
    frames = traceback.extract_tb(error.__traceback__)
    where = Path(frames[-1].filename).as_posix() if frames else ""
    return isinstance(error, ValueError | TypeError | AssertionError) and where.endswith(LOOKING)


if __name__ == "__main__":
    main()
