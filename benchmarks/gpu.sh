#!/usr/bin/env bash
# Everything that is to be measured on a GPU, in one command: benchmarks/gpu.sh [FOLDER]
# Parity first: without it there are no figures. Results go to FOLDER, or benchmarks/results.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-benchmarks/results}

python -c 'import torch; torch.cuda.is_available() or exit("error: PyTorch sees no GPU here")'
PSA_SEG_TEST_DEVICE=cuda python -m pytest -n 8 tests/ops tests/attention
python -m benchmarks.attention --device cuda --out "$out"
python -m benchmarks.models --device cuda --out "$out"
python -m benchmarks.tiles --out "$out"
