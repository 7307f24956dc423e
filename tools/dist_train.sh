#!/usr/bin/env bash
# Train on several GPUs: tools/dist_train.sh CONFIG GPUS [--max-restarts N] [options of tools/train.py]
# A job of which a process dies goes on from its last checkpoint, N times.
# On several machines, the same on each: NNODES=2 NODE_RANK=0 MASTER_ADDR=host MASTER_PORT=29500
[ $# -ge 2 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
exec python -m psa_seg.engine.torchrun "$2" "$(dirname "$0")/train.py" "$1" "${@:3}"
