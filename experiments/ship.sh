#!/usr/bin/env bash
# The model that ships with the package, from its seed: trained, stored in 16 bits, judged as stored.
# Usage: experiments/ship.sh
set -euo pipefail
jacsup train faces
python experiments/ship.py runs/faces faces
