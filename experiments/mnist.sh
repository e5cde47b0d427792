#!/usr/bin/env bash
# The paper's exact settings and both plain arms, with the report. Usage: experiments/mnist.sh MNIST_FOLDER
set -euo pipefail
jacsup train mnist --data-root "$1"
jacsup train mnist --arm plain --data-root "$1"
jacsup train mnist --arm plain-jump --data-root "$1"
for arm in "" -plain -plain-jump; do
  jacsup evaluate "runs/mnist$arm"
done
jacsup report runs/mnist
