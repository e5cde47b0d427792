"""A run folder: its files, and its lock."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from jacsup.atomic import naming, write_atomically
from jacsup.bounded import refusing
from jacsup.config import Recipe, read_recipe
from jacsup.jsonable import to_dict


class InUseError(ValueError):
    """Another process is training this run."""


@dataclass(frozen=True)
class Run:
    """The files of one run. Reading from a folder that is not a run raises ValueError.

    Attributes:
        path: The run folder.
    """

    path: Path

    @classmethod
    def around(cls, path: Path) -> Run | None:
        """Return the run that a path is or lies in, if there is one.

        Args:
            path: A folder, or a model file.
        """
        return next((cls(folder) for folder in (path, *path.parents[:3]) if (folder / "recipe.json").is_file()), None)

    @property
    def recipe(self) -> Recipe:
        """The recipe that is trained."""
        self.require()
        return read_recipe(self.path / "recipe.json")

    @property
    def stats_file(self) -> Path:
        """One JSON line per epoch."""
        return self.path / "stats.jsonl"

    @property
    def checkpoint_file(self) -> Path:
        """The last checkpoint."""
        return self.path / "checkpoint.safetensors"

    @property
    def model_file(self) -> Path:
        """The last stage's model."""
        return self.path / "model.safetensors"

    def require(self) -> None:
        """Raise ValueError unless this folder is a run.

        Raises:
            ValueError: The folder has no recipe.json.
        """
        if not (self.path / "recipe.json").is_file():
            raise ValueError(
                f"{self.path} is not a run: it has no recipe.json; pass a folder that `jacsup train` wrote"
            )

    def write_recipe(self, recipe: Recipe) -> None:
        """Write recipe.json.

        Args:
            recipe: The recipe.
        """
        write_atomically(self.path / "recipe.json", json.dumps(to_dict(recipe), indent=2).encode())

    def stage_file(self, number: int, recipe: Recipe | None = None) -> Path:
        """The model of stage `number`, whether it exists or not.

        Args:
            number: Number of the stage, from 0.
            recipe: The run's recipe, if it has been read already.
        """
        stage = (recipe or self.recipe).stages[number]
        return self.path / "stages" / f"{number:02d}-{stage.name}" / "model.safetensors"

    def stage_digest(self, number: int) -> str:
        """SHA-256 of a finished stage's model file.

        Args:
            number: Number of the stage, from 0.
        """
        return hashlib.sha256(self.stage_file(number).read_bytes()).hexdigest()

    def finished_stages(self, recipe: Recipe | None = None) -> list[int]:
        """Numbers of the stages whose models exist, from 0 up to the first missing one.

        Args:
            recipe: The run's recipe, if it has been read already.
        """
        recipe = recipe or self.recipe
        finished: list[int] = []
        while len(finished) < len(recipe.stages) and self.stage_file(len(finished), recipe).is_file():
            finished.append(len(finished))
        return finished

    def teacher_file(self, student: Path) -> Path | None:
        """The model file of a student's teacher; None for a model that is not a student.

        Args:
            student: The model file of a finished stage.

        Returns:
            The path, or None.
        """
        recipe = self.recipe
        newest_first = reversed(self.finished_stages(recipe))
        number = next((n for n in newest_first if student in (self.model_file, self.stage_file(n, recipe))), None)
        if number is None or not recipe.stages[number].is_student:
            return None
        return self.stage_file(recipe.teacher_of(number), recipe)

    def newest_model(self) -> Path | None:
        """The newest finished stage's model, or None."""
        finished = self.finished_stages()
        return self.stage_file(finished[-1]) if finished else None

    def install_model(self, stage_file: Path) -> None:
        """Copy a stage's model to the run's model.safetensors.

        Args:
            stage_file: The stage's model file.
        """
        content = stage_file.read_bytes()
        if not self.model_file.exists() or self.model_file.read_bytes() != content:
            write_atomically(self.model_file, content)

    def stats(self) -> list[dict[str, Any]]:
        """The lines of stats.jsonl, oldest first, without those that a crash or a faulty disk has damaged."""
        lines: list[dict[str, Any]] = []
        if self.stats_file.exists():
            for text in self.stats_file.read_text(encoding="utf-8", errors="replace").splitlines():
                with contextlib.suppress(ValueError, RecursionError):
                    line = json.loads(text)
                    if isinstance(line, dict) and all(type(line.get(name)) is int for name in ("stage", "epoch")):
                        lines.append(line)
        return lines

    def sessions(self) -> list[dict[str, Any]]:
        """Where and how each session of this run ran, oldest first.

        Raises:
            ValueError: run.json is damaged.
        """
        path = self.path / "run.json"
        if not path.exists():
            return []
        with refusing(path, "not a list of sessions; delete it to continue the run"):
            sessions = json.loads(path.read_text(encoding="utf-8"))["sessions"]
            if not isinstance(sessions, list) or not all(isinstance(session, dict) for session in sessions):
                raise ValueError("sessions must be a list of objects")
        return sessions

    def add_session(self, session: dict[str, Any]) -> None:
        """Append a session to run.json.

        Args:
            session: The session's entry in run.json.
        """
        text = json.dumps({"sessions": [*self.sessions(), session]}, indent=2)
        write_atomically(self.path / "run.json", text.encode())

    def neighbours(self) -> Iterator[tuple[Run, Recipe]]:
        """The other readable runs in the same folder, with their recipes, in the order of their names."""
        for file in sorted(self.path.parent.glob("*/recipe.json")):
            try:
                recipe = read_recipe(file)
            except ValueError:
                continue
            if file.parent != self.path:
                yield Run(file.parent), recipe

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder against a second process. The lock is released when its process ends.

        Raises:
            InUseError: Another process has the lock.
        """
        try:
            with naming(self.path):
                held = FileLock(self.path / ".lock").acquire(timeout=0)
        except Timeout:
            raise InUseError(
                f"{self.path} is in use by another process; wait for it, stop it, or pass another folder with --out"
            ) from None
        with held:
            for left_behind in self.path.rglob(".*.tmp"):
                left_behind.unlink()
            yield
