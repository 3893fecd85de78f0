"""What a command says at its end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from styletx.cli import terminal


def say(report: dict[str, Any], target: Path, as_json: bool, quiet: bool) -> None:
    """Print a report as JSON on stdout, or else the name of the file that was written on stderr."""
    if as_json:
        terminal.say(json.dumps(report))
    elif not quiet:
        terminal.say(str(target), aside=True)
