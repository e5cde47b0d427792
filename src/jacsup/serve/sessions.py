"""Faces that people have opened in the browser: few, for a short while, in memory alone."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from jacsup.edit import Face

MOST_SESSIONS, SESSION_SECONDS = 64, 600


class ForgottenError(LookupError):
    """A face that is no longer kept, or never was."""


@dataclass
class Sessions:
    """The opened faces, each by a token that nobody guesses; the oldest go first."""

    _faces: OrderedDict[str, tuple[float, Face]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, face: Face) -> str:
        """Keeps a face and returns its token."""
        token = secrets.token_urlsafe(16)
        with self._lock:
            self._faces[token] = time.monotonic(), face
            self._forget_old()
        return token

    def get(self, token: object) -> Face:
        """The face of a token, kept for longer by being asked for."""
        with self._lock:
            self._forget_old()
            if not isinstance(token, str) or token not in self._faces:
                raise ForgottenError("this photo is no longer kept; open it again")
            face = self._faces[token][1]
            self._faces[token] = time.monotonic(), face
            self._faces.move_to_end(token)
            return face

    def forget(self) -> None:
        """Lets go of faces that nobody has asked for lately."""
        with self._lock:
            self._forget_old()

    def _forget_old(self) -> None:
        oldest = time.monotonic() - SESSION_SECONDS
        while self._faces and (len(self._faces) > MOST_SESSIONS or next(iter(self._faces.values()))[0] < oldest):
            self._faces.popitem(last=False)
