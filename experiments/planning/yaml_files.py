"""Reading YAML so that ``1e-3`` is a number, as everywhere else in Python."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from experiments.errors import ExperimentError


class NumberLoader(yaml.SafeLoader):
    """PyYAML's safe loader, which follows YAML 1.1 and takes ``1e-3`` for text, mended."""


NumberLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises:
        ExperimentError: where the file cannot be read, is no YAML, or holds no mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=NumberLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise ExperimentError(f"{path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise ExperimentError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ExperimentError(f"{path} must hold a mapping of names to values")
    return content


def write_yaml(path: Path, content: dict[str, Any]) -> None:
    """Write a mapping as YAML, in its own order."""
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
