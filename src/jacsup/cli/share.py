"""The command line's part that hands models out: to the browser, and to other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

Positional = tyro.conf.Positional


def serve(
    model: Annotated[Positional[str], tyro.conf.arg(metavar="MODEL")] = "faces",
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    browser: bool = True,
    device: str = "cpu",
) -> None:
    """Open the editor in the browser: photos stay on this machine, and only in its memory.

    Args:
        model: A run folder, a model file, hf:owner/name, or one that ships with the package: faces, mnist.
        host: Where to listen; 0.0.0.0 lets other machines in.
        port: The port; 0 takes a free one.
        browser: Open it in the browser.
        device: auto, cpu, cuda or cuda:N.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"--port is {port}; allowed are 0 to 65535")
    try:
        from jacsup.serve import serve as run
    except ModuleNotFoundError as error:
        raise ValueError(f"serve needs the library {error.name}; run `pip install 'jacsup[serve]'`") from None
    run(model, host, port, browser=browser, device=device)


def export(
    model: Annotated[Positional[str], tyro.conf.arg(metavar="MODEL")],
    /,
    *,
    format: Literal["onnx", "torch", "half"] = "onnx",
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("export"),
) -> None:
    """Write a model's encoder and decoder for programs without this package, and model.json, which explains them.

    Args:
        model: A run folder, a model file or hf:owner/name.
        format: onnx; torch for torch.export's files; half for a model file of half the size.
        out: The folder for the files.
    """
    from jacsup.export import export as write

    for file in write(model, out, format):
        print(file)


def push(
    model: Annotated[Positional[str], tyro.conf.arg(metavar="MODEL")],
    repository: Annotated[Positional[str], tyro.conf.arg(metavar="OWNER/NAME")],
    /,
    *,
    private: bool = False,
) -> None:
    """Upload a model and a card that describes it to the Hugging Face Hub, where hf:OWNER/NAME finds it.

    Args:
        model: A run folder, a model file or hf:owner/name.
        repository: The repository; it is made if it is not there.
        private: Make it for yourself alone.
    """
    from jacsup.hub import push as upload

    print(f"the model is at {upload(model, repository, private=private)}")
