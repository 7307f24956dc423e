#!/usr/bin/env bash
# Score a checkpoint on several GPUs: tools/dist_test.sh CONFIG CHECKPOINT GPUS [options of tools/test.py]
# On several machines, the same on each: NNODES=2 NODE_RANK=0 MASTER_ADDR=host MASTER_PORT=29500
[ $# -ge 3 ] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
exec python -m psa_seg.engine.torchrun "$3" "$(dirname "$0")/test.py" "$1" "$2" "${@:4}"
