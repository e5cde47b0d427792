#!/usr/bin/env bash
# The shipped models: trained from their seeds, stored in 16 bits, judged as stored.
# Usage: experiments/ship.sh [MNIST_FOLDER]
set -euo pipefail
jacsup train faces
python experiments/ship.py runs/faces faces
jacsup train mnist ${1:+--data-root "$1"}
python experiments/ship.py runs/mnist mnist ${1:+--data-root "$1"}
