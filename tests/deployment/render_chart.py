"""Renders the chart's templates: run by a Python that has Go's templates, with a JSON document on standard input.

In: ``{"helpers": TEXT, "templates": {NAME: TEXT}, "values": {...}}``; out: ``{NAME: RENDERED}``.
"""

import json
import sys
import tempfile
from pathlib import Path

import go_template  # type: ignore[import-not-found]

asked = json.load(sys.stdin)
rendered = {}
with tempfile.TemporaryDirectory() as folder:
    for name, text in asked["templates"].items():
        path = Path(folder) / name
        path.write_text(asked["helpers"] + text)
        rendered[name] = go_template.render(path, asked["values"]).decode()
json.dump(rendered, sys.stdout)
