"""How the parameters of commands appear on the command line."""

from __future__ import annotations

from typing import Annotated, TypeVar

import tyro

T = TypeVar("T")

Positional = tyro.conf.Positional
# The help texts name these defaults; tyro would append "(default: None)", "(default: )" and "(default: False)".
_SILENT = tyro.conf.arg(help_behavior_hint="")
Option = Annotated[T | None, _SILENT]
Several = Annotated[tuple[T, ...], _SILENT]
Flag = Annotated[bool, _SILENT]
# --set a=1 b=2 --set c=3
Repeated = tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]]
