#!/usr/bin/env bash
# Compare all methods. Usage: experiments/compare.sh MNIST_FOLDER CELEBA_FOLDER
set -euo pipefail
jacsup compare mnist --data-root "$1"
jacsup compare sprites
jacsup compare faces
jacsup compare celeba64 --data-root "$2"
