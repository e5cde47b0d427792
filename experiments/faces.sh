#!/usr/bin/env bash
# The supervised system on drawn faces, 64x64, whose true edits are known, and its arms.
# Usage: experiments/faces.sh
set -euo pipefail
jacsup train faces
for arm in plain reconstruction longer; do
  jacsup train faces --arm "$arm"
done
for run in runs/faces{,-plain,-reconstruction,-longer}; do
  jacsup evaluate "$run"
done
jacsup report runs/faces
