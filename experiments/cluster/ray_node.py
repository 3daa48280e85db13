"""What happens on a node of a Ray cluster: one run, from a text that was sent to what the run leaves.

The node has the requirements installed and nothing else of ours: Ray brings a copy of the code, and this module unpacks
the text next to it, once per node. Ray removes both when it needs the room.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from data_modules.cleaning.prepared import prepare
from data_modules.errors import DataError
from data_modules.portable import carried_folder, unpack_text
from experiments.cluster.run_archive import pack_run
from experiments.errors import ExperimentError
from experiments.making.messages import Message
from experiments.making.worker import make
from experiments.paths import REPOSITORY
from experiments.planning.runs import Run
from experiments.runs.provenance import versions
from lightning_modules.schemes.own_files import SchemeFile, load_scheme_file

NODE_CACHE = REPOSITORY / ".cache"


@dataclass(frozen=True)
class Job:
    """One run for a node, and what it must find there."""

    run: Run
    text: str
    """Digest of the packed text."""
    fingerprint: str
    """Fingerprint of the corpus that the text must turn out to have."""
    versions: dict[str, Any]
    """Versions of Python and of the packages that numbers depend on."""
    schemes: tuple[SchemeFile, ...] = ()
    """The scheme files that the command line named, as the machine that asks has read them."""


def make_on_node(job: Job, packed: Sequence[Any]) -> tuple[Message, bytes]:
    """Make a run and return how it ended and the archive of what it leaves.

    Args:
        job: the run.
        packed: one reference to the bytes of the text, which are fetched only if this node lacks them.

    Raises:
        ExperimentError: if the node has other versions of what numbers depend on.
        DataError: if the text did not arrive as it was sent.
    """
    refuse_other_versions(job.versions)
    for file in job.schemes:
        load_scheme_file(file)
    cache = receive_text(job, packed)
    data = replace(job.run.config.data, cache_dir=str(cache))
    run = replace(job.run, config=replace(job.run.config, data=data))
    with TemporaryDirectory(dir=NODE_CACHE, prefix="run-") as results:
        message = make(run, Path(results))
        return message, pack_run(run.folder(Path(results)))


def refuse_other_versions(expected: dict[str, Any]) -> None:
    """Refuse to make runs that could differ from those of the machine that asked for them.

    Raises:
        ExperimentError: naming the first difference.
    """
    found = versions()
    wanted, here = ({"Python": each["python"], **each["versions"]} for each in (expected, found))
    for name, version in wanted.items():
        if here.get(name) != version:
            raise ExperimentError(
                f"{platform.node()} has {name} {here.get(name)}, this machine has {version}; "
                "install the same requirements on every node"
            )


def receive_text(job: Job, packed: Sequence[Any]) -> Path:
    """Return the cache folder of the job's text, unpacked here on first use.

    Raises:
        DataError: if it is not the text that was sent.
    """
    import ray

    folder = carried_folder(job.text, NODE_CACHE)
    if not folder.is_dir():
        unpack_text(job.text, ray.get(packed[0]), NODE_CACHE)
    found = prepare(replace(job.run.config.data, cache_dir=str(folder))).fingerprint
    if found != job.fingerprint:
        raise DataError(f"the text has fingerprint {found[:12]} on {platform.node()}, not {job.fingerprint[:12]}")
    return folder
