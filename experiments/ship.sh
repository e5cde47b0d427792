#!/usr/bin/env bash
# The models that ship with the package, from seeds: trained, stored in 16 bits, judged as stored.
# Usage: experiments/ship.sh FOLDER_WITH_MNIST
set -euo pipefail
jacsup train faces
jacsup train mnist --data-root "$1"
python experiments/ship.py runs/faces faces
python experiments/ship.py runs/mnist mnist --data-root "$1"
