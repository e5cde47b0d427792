"""The examples below the help of each command."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "train": (
        "jacsup train faces-mini              # drawn faces, without a download",
        "jacsup train mnist-residual --seed 1 --out runs/mine",
        "jacsup train folder --images DIR --attributes FILE.csv --size 64",
        "jacsup train faces --set stages.batch_size=64 --dry-run",
    ),
    "evaluate": (
        "jacsup evaluate runs/faces",
        "jacsup evaluate photos --data-root DIR --json",
    ),
    "report": (
        "jacsup report runs/faces",
        "jacsup report runs/celeba64 --data-root DIR",
    ),
    "compare": (
        "jacsup compare digits --seeds 0      # one seed of each method",
        "jacsup compare mnist --methods jacobian pca --codes 8 16",
    ),
    "tune": (
        "jacsup tune mnist-fast --trials 10",
        "jacsup tune faces-mini --grid stages.weights.jacobian=0.1,1,10 --epochs 2",
    ),
    "edit": (
        "jacsup edit photos me.jpg --set Smiling=1.5 Eyeglasses=-1 -o out.png",
        "jacsup edit photos holiday --add Smiling=1 -o edited   # a folder of photos",
        "jacsup edit photos me.jpg --sweep Young -o young.gif",
        "jacsup edit faces a.png --morph b.png --no-align -o morph.gif",
    ),
    "serve": (
        "jacsup serve                         # photographs or drawn faces",
        "jacsup serve runs/faces --port 0 --no-browser",
        "jacsup serve photos --api-only",
    ),
    "export": (
        "jacsup export runs/faces -o faces-onnx",
        "jacsup export photos --format half",
    ),
    "push": (
        "jacsup push runs/faces OWNER/faces",
        "jacsup push runs/faces OWNER/faces --private",
    ),
    "list": (
        "jacsup list",
        "jacsup train faces-mini              # one of the recipes",
        "jacsup serve photos                  # one of the shipped models",
    ),
    "data check": (
        "jacsup data check --images DIR --attributes FILE.csv",
        "jacsup data check --images photos.zip --size 128 --drop photographer",
    ),
    "data download": (
        "jacsup data download mnist",
        "jacsup data download svhn --data-root DIR",
    ),
    "data prepare": (
        "jacsup data prepare celeba --data-root DIR --size 64",
        "jacsup data prepare folder --images DIR --attributes FILE.csv",
    ),
}


def below_help(command: str) -> str:
    """Return what the help of a command ends with."""
    lines = [f"  {line}\n" for line in EXAMPLES.get(command, ())]
    return "".join(["\nexamples:\n", *lines]) if lines else ""
