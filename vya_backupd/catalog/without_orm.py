"""SQLAlchemy's asyncio engine without its object-relational mapper.

``sqlalchemy.ext.asyncio`` is a package whose first lines import its sessions, and through them the whole mapper: six
megabytes and a twentieth of a second, for a catalog that speaks Core. So this module puts an empty package of that name
in place, with the engine in it. Whoever has imported the real one before, keeps it.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import sqlalchemy.ext

_NAME = "sqlalchemy.ext.asyncio"
_OURS = ("AsyncConnection", "AsyncEngine", "create_async_engine")


def _load() -> None:
    package = ModuleType(_NAME)
    package.__path__ = [str(Path(folder) / "asyncio") for folder in sqlalchemy.ext.__path__]
    package.__spec__ = ModuleSpec(_NAME, None, is_package=True)
    sys.modules[_NAME] = package
    try:
        engine = importlib.import_module(f"{_NAME}.engine")
        for name in _OURS:
            setattr(package, name, getattr(engine, name))
    except (ImportError, AttributeError):
        # Another release of SQLAlchemy, built otherwise: take it whole.
        for name in [name for name in sys.modules if name == _NAME or name.startswith(f"{_NAME}.")]:
            del sys.modules[name]


if _NAME not in sys.modules:
    _load()
