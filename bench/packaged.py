"""Where lies what comes with the program: the registry, the twins and the pages of the documentation."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent
#: Inside the package (wheel) or beside it (checkout).
ROOT = _PACKAGE / "_registry" if (_PACKAGE / "_registry").is_dir() else _PACKAGE.parent
