"""Links of the notebooks to other pages, which mkdocs itself leaves as they are: .md and .ipynb become .html."""

from __future__ import annotations

import re
from typing import Any


def on_page_content(html: str, **_page: Any) -> str:
    """The page with links to sources made links to pages."""
    return re.sub(r'(href="(?!https?:)[^":#]+)\.(?:md|ipynb)(?=[#"])', r"\1.html", html)
