#!/usr/bin/env bash
# The paper to the letter and both plain arms, with the report. Usage: experiments/mnist.sh FOLDER_WITH_MNIST
set -euo pipefail
jacsup train mnist --data-root "$1"
jacsup train mnist --arm plain --data-root "$1"
jacsup train mnist --arm plain-jump --data-root "$1"
for arm in "" -plain -plain-jump; do
  jacsup evaluate "runs/mnist$arm"
done
jacsup report runs/mnist
