#!/usr/bin/env bash
# The fast curriculum, three seeds, and its plain arm. Usage: experiments/mnist-fast.sh MNIST_FOLDER
set -euo pipefail
for seed in 0 1 2; do
  out=runs/mnist-fast$([ "$seed" = 0 ] || echo "-s$seed")
  jacsup train mnist-fast --seed "$seed" --data-root "$1"
  jacsup evaluate "$out"
done
jacsup train mnist-fast --arm plain --data-root "$1"
jacsup evaluate runs/mnist-fast-plain
jacsup report runs/mnist-fast
