#!/usr/bin/env bash
# The supervised system on photographs, 64x64, and its arms, all from the same teacher.
# Usage: experiments/celeba64.sh CELEBA_FOLDER
set -euo pipefail
jacsup train celeba64 --data-root "$1"
for arm in plain reconstruction longer; do
  jacsup train celeba64 --arm "$arm" --data-root "$1"
done
for run in runs/celeba64{,-plain,-reconstruction,-longer}; do
  jacsup evaluate "$run"
done
jacsup report runs/celeba64
