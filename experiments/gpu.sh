#!/usr/bin/env bash
# Every figure that needs a GPU, in one command: the GPU tests, the benchmarks, and `photos` trained for the seconds left.
# Usage: experiments/gpu.sh PHOTOS.npz [SECONDS_OF_TRAINING]     results in $OUT, build/gpu by default
# PHOTOS.npz comes from `python experiments/gpu.py pack CELEBA_FOLDER PHOTOS.npz`. Needs no command-line packages.
set -uo pipefail
out=${OUT:-build/gpu}
mkdir -p "$out"
export PYTHONPATH=src:tests
device=$(python -c 'import torch; print("cuda" if torch.cuda.is_available() else "cpu")')
timeout 90 python -m pytest -q -m gpu tests/test_gpu.py 2>&1 | tee "$out/tests.log"
small=$([ "$device" = cuda ] || echo --quick)
timeout 240 python benchmarks/bench.py --device "$device" $small 2>&1 | tee "$out/bench.log"
python experiments/gpu.py train "$1" "$out" --seconds "${2:-200}" --device "$device" 2>&1 | tee "$out/train.log"
