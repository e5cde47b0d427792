"""A measurement in a process of its own: what one case leaves in memory slows down the next."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def alone(script: str, *arguments: str) -> Any:
    """The JSON that a script prints. Its errors go to the terminal, and end this process too."""
    done = subprocess.run([sys.executable, script, *arguments], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{script} {' '.join(arguments)} failed with exit code {done.returncode}; its error is above")
    return json.loads(done.stdout)
