"""How the parameters of commands appear on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

import tyro

T = TypeVar("T")

# Positional arguments, shown as MODEL rather than STR. (PositionalMetavarFromFieldName is not in tyro 1.0.)
Model = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
RecipeName = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RECIPE")]
Name = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
RunFolder = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
Photos = Annotated[
    tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="PHOTO [PHOTO ...]", help_behavior_hint="")
]
Repository = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="OWNER/NAME")]
# The help texts name these defaults; tyro would append "(default: None)", "(default: )" and "(default: False)".
_SILENT = tyro.conf.arg(help_behavior_hint="")
Option = Annotated[T | None, _SILENT]
Several = Annotated[tuple[T, ...], _SILENT]
Flag = Annotated[bool, _SILENT]
# --set a=1 b=2 --set c=3
Repeated = tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]]
