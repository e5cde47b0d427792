#!/usr/bin/env bash
# The shipped models: trained from their seeds, stored in 16 bits, judged as stored.
# Usage: experiments/ship.sh [MNIST_FOLDER [CELEBA_FOLDER]]; the model of photographs needs CelebA's folder
set -euo pipefail
jacsup train faces
python experiments/ship.py runs/faces faces
jacsup train mnist ${1:+--data-root "$1"}
python experiments/ship.py runs/mnist mnist ${1:+--data-root "$1"}
if [ $# -gt 1 ]; then
  jacsup train photos --data-root "$2" --precision bfloat16
  python experiments/ship.py runs/photos photos --data-root "$2"
fi
