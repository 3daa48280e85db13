"""Say in a second what a bug report needs: ``python -m experiments.doctor``.

It imports neither torch nor Lightning, so it answers even if these are broken.
"""

from __future__ import annotations

if not __package__:  # started by its path, where Python finds neither our packages nor its own `statistics`
    raise SystemExit("error: start it from the repository's folder with: python -m experiments.doctor")

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from data_modules.cache import cache_root
from experiments.paths import REPOSITORY, RESULTS
from experiments.runs.provenance import git, processor_name, usable_cores

VARIABLES = {
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE", "TMPDIR"),
    *("RESNORM_CACHE", "RESNORM_RESULTS", "RESNORM_CORPORA"),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
    *("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
}
GIB = 2**30


def main() -> None:
    """Print every fact on its own line, and the packages whose version is not the pinned one."""
    for name, value in facts():
        print(f"{name:<22}{value}")


def facts() -> Iterator[tuple[str, str]]:
    """Yield the name and value of every fact."""
    yield "commit", git("describe", "--always", "--dirty") or "no git repository"
    inside = "in" if sys.prefix != sys.base_prefix else "outside"
    yield "Python", f"{platform.python_version()}, {inside} a virtual environment"
    yield "system", f"{platform.system()} {platform.release()}, {platform.machine()}"
    yield "processor", f"{processor_name()}, {os.cpu_count()} logical cores, {usable_cores()} usable"
    yield "torch", torch_build()
    differing = [f"{name} {found} (pinned {pinned})" for name, pinned, found in packages() if found != pinned]
    yield "packages", "; ".join(differing) or "all as pinned"
    yield "cache", place(cache_root())
    yield "results", place(RESULTS)
    yield "environment", ", ".join(f"{name}={os.environ[name]}" for name in variables()) or "nothing that matters"


def torch_build() -> str:
    """Read torch's version and CUDA version from its files, without importing it."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return "not installed"
    text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    found = dict(re.findall(r"^(__version__|cuda)\b.*?= ?'?([^'\n]+)'?$", text, flags=re.MULTILINE))
    cuda = found.get("cuda", "None")
    return f"{found.get('__version__', 'unknown')}, {'for the CPU' if cuda == 'None' else f'CUDA {cuda}'}"


def packages() -> Iterator[tuple[str, str, str]]:
    """Yield name, pinned version and installed version of every package in ``requirements.txt``."""
    for line in (REPOSITORY / "requirements.txt").read_text(encoding="utf-8").splitlines():
        pinned = re.match(r"([\w-]+)(?:\[\w+\])?==(\S+)$", line)
        if pinned:
            try:
                found = version(pinned[1]).partition("+")[0]
            except PackageNotFoundError:
                found = "missing"
            yield pinned[1], pinned[2], found


def place(folder: Path) -> str:
    """Describe a folder: where it is, whether it can be written, and how much room is left on its disk."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    state = "" if os.access(there, os.W_OK) else ", cannot be written"
    return f"{folder}{state}, {shutil.disk_usage(there).free / GIB:.1f} GiB free"


def variables() -> list[str]:
    """List the variables of the environment that change what runs do or where they write."""
    return [name for name in sorted(os.environ) if name in VARIABLES or name.startswith(("PL_", "RAY_"))]


if __name__ == "__main__":
    main()
