"""The photos opened in the browser, kept for ten minutes and only in memory."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from jacsup.edit import OpenedPhoto

MOST_SESSIONS = 1000
MOST_BYTES = 2**30
SESSION_SECONDS = 600


class ForgottenError(LookupError):
    """A token whose photo is no longer kept, or never was."""


@dataclass
class Sessions:
    """Opened photos by unguessable tokens; the least recently used are dropped first. Safe to use from many threads."""

    _photos: OrderedDict[str, tuple[float, OpenedPhoto]] = field(default_factory=OrderedDict)
    _bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, photo: OpenedPhoto) -> str:
        """Keep a photo and return its token."""
        token = secrets.token_urlsafe(16)
        with self._lock:
            self._photos[token] = time.monotonic(), photo
            self._bytes += size_of(photo)
            self._forget_old()
        return token

    def get(self, token: object) -> OpenedPhoto:
        """Return the photo of a token and restart its time.

        Raises:
            ForgottenError: There is no photo for this token.
        """
        with self._lock:
            self._forget_old()
            if not isinstance(token, str) or token not in self._photos:
                raise ForgottenError("this photo is no longer kept; open it again")
            photo = self._photos[token][1]
            self._photos[token] = time.monotonic(), photo
            self._photos.move_to_end(token)
            return photo

    def forget(self) -> None:
        """Drop photos that have not been used for SESSION_SECONDS."""
        with self._lock:
            self._forget_old()

    def _forget_old(self) -> None:
        oldest = time.monotonic() - SESSION_SECONDS
        while self._photos and (
            len(self._photos) > MOST_SESSIONS
            or self._bytes > MOST_BYTES
            or next(iter(self._photos.values()))[0] < oldest
        ):
            _, (_, photo) = self._photos.popitem(last=False)
            self._bytes -= size_of(photo)


def size_of(opened: OpenedPhoto) -> int:
    """Return the approximate number of bytes of an opened photo."""
    tensors = opened.code.y, opened.code.z, opened.x_hat
    width, height = opened.photo.size
    return width * height * len(opened.photo.getbands()) + sum(tensor.nbytes for tensor in tensors)
