"""A user's afternoon: what README, docs and tutorials show, in a fresh clone with a fresh environment.

    python tests/afternoon.py FOLDER [REQUIREMENT...]

installs the requirements first, such as torch's CPU build. Downloads, accounts and hours are left out or replaced by
drawn data and small budgets, by the tables below. It fails at the first command that fails, warns or shows a traceback,
and at links and pictures that lead nowhere. 10 minutes on 2 cores; not part of the suite.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import test_readme
from conftest import REPOSITORY
from test_docs import TUTORIALS

PAGES = ("README.md", *(f"docs/{name}.md" for name in ("install", "faces", "mnist", "comparing", "python", "formats")))
SHOWN = r"^    ((?:jacsup|pip install|python examples/|make|curl|torchrun) ?.*)$"
# The first rule that matches a command applies.
LEFT_OUT = {
    r"celeba|CELEBA|train photos": "needs CelebA",
    r"svhn": "needs a download",
    r"push|hf:": "needs an account",
    r"sprites|compare (mnist|faces)|tune mnist|mnist --extend": "takes hours",
    r"^make": "has an environment of its own, and is CI's",
    r"torchrun|/shared": "needs many devices",
    r"^curl": "needs the server of the line before",
}
TINY = "--size 32 --epochs 1 --set data.num_images=300 stages.batch_size=30"
ADDED = {
    r"^jacsup train .*--dry-run": "",
    r"^jacsup train faces": TINY,
    r"^jacsup train folder": "--epochs 1 --set stages.batch_size=16",
    r"^jacsup train mnist": "--data-root MNIST --epochs 1",
    r"^jacsup train digits": "--epochs 1",
    r"^jacsup compare digits$": "--seeds 0 --codes 4 --methods jacobian residual plain pca vae",
    r"^jacsup serve": "--no-browser --port 0",
}
REPLACED = {r"\bDIR\b": "photos", r"\bFILE\.csv\b": "photos.csv", r"\bFILE\b": "settings.json"}
# What small budgets lead to, and what Jupyter says of its own transport.
EXPECTED = r"warning: (stage|it reconstructs)|reconstructs no better|not learned|^\[IPKernelApp\]"
FILES = """
import gzip, json, struct
import numpy as np
from PIL import Image
from importlib.resources import files
from sklearn.datasets import load_digits
from jacsup.config import Faces
from jacsup.data import load_dataset

portrait = (files("jacsup.shipped") / "portrait.jpg").read_bytes()
from pathlib import Path
for name in ("me", "photo", "a", "b", "holiday/1", "holiday/2"):
    Path(f"{name}.jpg").parent.mkdir(exist_ok=True)
    Path(f"{name}.jpg").write_bytes(portrait)
json.dump({"strengths": {"Smiling": 1}, "detail": 1}, open("settings.json", "w"))
data = load_dataset(Faces(size=64, num_images=200))
Path("photos").mkdir()
rows = ["file,Smiling,Eyeglasses"]
names = [attribute.name for attribute in data.attributes]
for number, (image, labels) in enumerate(zip(data.train.images, data.train.attributes)):
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(f"photos/{number}.png")
    rows.append(f"{number}.png,{labels[names.index('Smiling')]:.0f},{labels[names.index('Eyeglasses')]:.0f}")
Path("photos.csv").write_text("\\n".join(rows))
for name in ("photo.png", "face.png"):
    Path(name).write_bytes(Path("photos/0.png").read_bytes())
Path("MNIST").mkdir()
digits = load_digits()
images = np.pad((digits.images * 15.9).astype(np.uint8).repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2)))
for start, part in (("train", slice(0, 1500)), ("t10k", slice(1500, None))):
    for kind, values in (("images-idx3", images[part]), ("labels-idx1", digits.target[part].astype(np.uint8))):
        header = struct.pack(">I", 0x800 + values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
        with gzip.open(f"MNIST/{start}-{kind}-ubyte.gz", "wb") as file:
            file.write(header + values.tobytes())
"""


def first(rules: dict[str, str], command: str) -> str | None:
    return next((value for pattern, value in rules.items() if re.search(pattern, command)), None)


def require_quiet(command: str, output: str) -> None:
    loud = [line for line in output.splitlines() if re.search(r"(?i)traceback|warning", line)]
    if loud := [line for line in loud if not re.search(EXPECTED, line)]:
        sys.exit(f"{command}\n" + "\n".join(loud))


def run(command: str, clone: Path) -> None:
    started = time.monotonic()
    done = subprocess.run(
        command, shell=True, cwd=clone, text=True, errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    print(f"{time.monotonic() - started:6.1f} s  {command}", flush=True)
    if done.returncode:
        sys.exit(f"exit code {done.returncode}:\n{done.stdout}")
    require_quiet(command, done.stdout)


def serve(command: str, clone: Path) -> None:
    """Start the editor, fetch its first page, and press Ctrl-C."""
    with subprocess.Popen(
        command.split(), cwd=clone, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as server:
        assert server.stdout
        try:
            line = server.stdout.readline()
            address = re.search(r"http://\S+", line)
            if address is None:
                sys.exit(f"{command}: {line}{server.stdout.read()}")
            with urlopen(address[0]) as answer:
                assert answer.status == 200, address
        finally:
            server.send_signal(signal.SIGINT)
        require_quiet(command, server.stdout.read())
    print(f"          {command}: {address[0]}", flush=True)


def require_links(page: Path) -> None:
    if missing := [path for path in test_readme.linked_paths(page) if not path.exists()]:
        sys.exit(f"{page} leads to {', '.join(map(str, missing))}, which are not there")


def follow(page: Path, clone: Path, seen: set[str]) -> None:
    for shown in re.findall(SHOWN, page.read_text(), re.M):
        command = shown.partition(" #")[0].strip()
        if command in seen:
            continue
        seen.add(command)
        if reason := first(LEFT_OUT, command):
            print(f"          left out, {reason}: {command}")
            continue
        added = first(ADDED, command)
        for pattern, replacement in REPLACED.items():
            command = re.sub(pattern, replacement, command)
        command = f"{command} {added}" if added else command
        (serve if command.startswith("jacsup serve") else run)(command, clone)


def prepared(folder: Path, requirements: list[str]) -> Path:
    """A clone with an environment and the files that the documentation's reader has."""
    clone = folder.resolve() / "jacsup"
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, clone], check=True)
    subprocess.run([sys.executable, "-m", "venv", clone / ".venv"], check=True)
    enter(clone)
    run(f"pip install {' '.join(requirements)} '.[docs]'", clone)
    subprocess.run(["python", "-c", FILES], cwd=clone, check=True)
    return clone


def enter(clone: Path) -> None:
    os.environ["PATH"] = f"{clone / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    os.environ["JACSUP_CACHE"] = str(clone / "cache")
    # pip warns of the machine's own settings.
    os.environ["PIP_QUIET"] = "2"
    os.environ.pop("PYTHONPATH", None)


def walk_through(clone: Path) -> None:
    seen: set[str] = set()
    for page in PAGES:
        follow(clone / page, clone, seen)
        for program in re.findall(r"```python\n(.*?)```", (clone / page).read_text(), re.DOTALL):
            (clone / "shown.py").write_text(program)
            run("python -W error shown.py", clone)
    for page in (clone / "README.md", *(clone / "docs").glob("*.md"), *(clone / "runs").glob("*/report/index.html")):
        require_links(page)
    for tutorial in TUTORIALS:
        run(f"cd docs/tutorials && python -m nbconvert --to notebook --execute {tutorial.name} --output out", clone)
        require_quiet(tutorial.name, (clone / "docs/tutorials/out.ipynb").read_text())


def main() -> None:
    folder, *requirements = sys.argv[1:]
    walk_through(prepared(Path(folder), requirements))
    print("everything that is shown works")


if __name__ == "__main__":
    main()
