#!/usr/bin/env bash
# Every method side by side. Usage: experiments/compare.sh FOLDER_WITH_MNIST FOLDER-WITH-CELEBA
set -euo pipefail
jacsup compare mnist --data-root "$1"
jacsup compare sprites
jacsup compare faces
jacsup compare celeba64 --data-root "$2"
