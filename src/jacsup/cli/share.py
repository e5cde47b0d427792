"""The commands that share a model: with the browser, with other programs and on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from jacsup.cli import lazy
from jacsup.cli.options import Flag, Model, Repository


def serve(
    model: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[MODEL]", help_behavior_hint="")] = None,
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    browser: Flag = True,
    allow_host: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    root_path: str = "",
    api_only: Flag = False,
    device: str = "cpu",
) -> None:
    """Open the editor in the browser. Photos stay on this machine, in memory only.

    Args:
        model: A run folder, a model file, hf:owner/name, or a shipped model (photos, faces or mnist). Without one, the
            page lets you choose between photos and drawn faces.
        host: The address to listen on; 0.0.0.0 accepts connections from other machines.
        port: The port to listen on; 0 picks a free one.
        allow_host: Another name under which browsers may reach the editor, such as example.org or example.org:8443.
        root_path: The path under which a proxy serves the editor, such as /tools/faces.
        browser: Start the server without opening the browser.
        api_only: Serve only the HTTP interface, without the page; it is described at /api.
        device: auto (a GPU if there is one), cpu, cuda, cuda:N or mps.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"--port is {port}; must be between 0 and 65535")
    try:
        run = lazy.serve
    except ModuleNotFoundError as error:
        raise ValueError(f"serve needs the library {error.name}; run `pip install 'jacsup[serve]'`") from None
    run(
        model,
        host,
        port,
        browser=browser,
        device=device,
        page=not api_only,
        allow_hosts=allow_host,
        root_path=root_path,
    )


def export(
    model: Model,
    /,
    *,
    format: Literal["onnx", "torch", "half"] = "onnx",
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("export"),
) -> None:
    """Write a model's encoder and decoder for use without jacsup, and model.json, which describes them.

    Args:
        model: A run folder, a model file, hf:owner/name, or a shipped model (photos, faces or mnist).
        format: onnx for ONNX files, torch for torch.export files, or half for a model file of half the size.
        out: The folder to write to.
    """
    for file in lazy.export(model, out, format):
        print(file)


def push(
    model: Model,
    repository: Repository,
    /,
    *,
    private: Flag = False,
) -> None:
    """Upload a model and its model card to the Hugging Face Hub; load it from there as hf:OWNER/NAME.

    Args:
        model: A run folder, a model file, hf:owner/name, or a shipped model (photos, faces or mnist).
        repository: The repository; it is created if it does not exist.
        private: Make a new repository private.
    """
    print(f"the model is at {lazy.push(model, repository, private=private)}")
