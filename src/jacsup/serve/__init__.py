"""The editor in the browser."""

from jacsup.serve.server import application, serve

__all__ = ["application", "serve"]
