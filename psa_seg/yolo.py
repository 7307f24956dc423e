"""The `yolo` command of Ultralytics, to which our layer and model files are known.

    python -m psa_seg.yolo train model=configs/yolo/yolov10n-psa.yaml data=coco8.yaml epochs=1

Modes, tasks and arguments are Ultralytics' own: `python -m psa_seg.yolo help`.
"""

import sys

from psa_seg.errors import UserError
from psa_seg.integrations.ultralytics import register


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
        if isinstance(error, UserError | FileNotFoundError | SyntaxError):
            return str(error).strip()
        error = error.__cause__
    return ""


if __name__ == "__main__":
    main()
