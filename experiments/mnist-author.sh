#!/usr/bin/env bash
# The author's algorithm at 10 epochs per stage, three seeds. Usage: experiments/mnist-author.sh MNIST_FOLDER
set -euo pipefail
for seed in 0 1 2; do
  out=runs/mnist-author-10-s$seed
  jacsup train mnist-author --epochs 10 --seed "$seed" --out "$out" --data-root "$1"
  jacsup evaluate "$out" --json >/dev/null
done
