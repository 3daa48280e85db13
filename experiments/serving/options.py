"""The settings of a service: runs, address, key and limits. Free of torch and of the web framework."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, get_args

from experiments.errors import ExperimentError
from experiments.planning.names import reject_unknown
from experiments.planning.saved_runs import load_run_config, run_folder, run_names
from experiments.tasks import CAUSAL_LM, LANGUAGE_TASKS
from lightning_modules.errors import check_numbers

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["float32", "bfloat16"]
KEY_VARIABLE = "RESNORM_API_KEY"
SHORTEST_KEY = 16
LARGEST_KEY_FILE = 4_096
MOST_RUNS = 4
LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Names of this machine that a request may always have as its host."""


@dataclass(frozen=True, kw_only=True)
class ServiceOptions:
    """Address, device and limits of a service.

    Raises:
        ExperimentError, ConfigurationError: for a value out of range, or a service open to others without a key.
    """

    host: str = "127.0.0.1"
    """Address to listen at; any but this machine's own needs an API key and ``allowed_hosts``."""

    port: int = 8000
    """Port to listen at; 0 takes a free one."""

    allowed_hosts: tuple[str, ...] = ()
    """Names that a request may give as its host, besides those of this machine."""

    api_key_file: str | None = None
    """File with the key that requests must bring; the variable RESNORM_API_KEY holds one otherwise."""

    workers: int = 1
    """Processes, each with its own copy of the models."""

    threads: int = 1
    """Threads of a process that compute."""

    device: Device = "auto"
    """Where the models compute; ``auto`` takes a GPU if there is one."""

    precision: Precision = "float32"
    """``bfloat16`` computes matrix products in bfloat16 (autocast); probabilities then differ in the third digit."""

    most_together: int = 32
    """Most texts of one batch."""

    patience: float = 0.004
    """Seconds to wait for further requests where several came together before; a lone request never waits."""

    most_waiting: int = 1024
    """Most texts that wait for a run; a request beyond it gets status 429."""

    most_texts: int = 1024
    """Most texts of a request."""

    most_characters: int = 20_000
    """Most characters of a text."""

    most_bytes: int = 2_000_000
    """Most bytes of a request's body."""

    most_connections: int = 1_000
    """Most connections of a process at once; further ones get status 503."""

    seconds: float = 30.0
    """Time limit of a request, for its body and for its answer each."""

    def __post_init__(self) -> None:
        check_numbers("", self, {"port": 65_535, "workers": 64, "threads": 256})
        reject_unknown("device", self.device, get_args(Device))
        reject_unknown("precision", self.precision, get_args(Precision))
        for entry in fields(self):
            value = getattr(self, entry.name)
            least = {"port": 0, "patience": 0, "seconds": 0.01}.get(entry.name, 1)
            if isinstance(value, int | float) and value < least:
                raise ExperimentError(f"{entry.name} is {value}; it must be at least {least}")
        if self.most_texts > self.most_waiting:
            raise ExperimentError(
                f"most_texts is {self.most_texts}, and no more than most_waiting {self.most_waiting} texts can wait; "
                f"raise most_waiting to {self.most_texts}"
            )
        for name in self.allowed_hosts:
            if not name or (any(character in name for character in "*/:@ ") and not is_address(name)):
                raise ExperimentError(f"allowed_hosts has {name!r}; give names or addresses without port and wildcard")

    @property
    def hosts(self) -> frozenset[str]:
        """Names that a request may give as its host, in lower case."""
        return frozenset(name.lower() for name in (*LOOPBACK, *self.allowed_hosts))


def is_address(name: str) -> bool:
    """Tell whether a name is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class ApiKey:
    """A key, of which the digest alone is kept."""

    digest: bytes

    @classmethod
    def of(cls, key: str) -> ApiKey:
        """Take a key.

        Raises:
            ExperimentError: it is short, or holds what no header can carry.
        """
        if len(key) < SHORTEST_KEY or not key.isascii() or not key.isprintable() or " " in key:
            raise ExperimentError(
                f"the API key must have at least {SHORTEST_KEY} letters, digits and marks, without spaces; make one "
                'with: python -c "import secrets; print(secrets.token_urlsafe(32))"'
            )
        return cls(hashlib.sha256(key.encode()).digest())

    def opens(self, header: str | None) -> bool:
        """Tell whether a header ``Authorization: Bearer KEY`` holds this key, in a time that reveals nothing."""
        scheme, _, given = (header or "").partition(" ")
        same = hmac.compare_digest(hashlib.sha256(given.strip().encode()).digest(), self.digest)
        return same and scheme.lower() == "bearer"


def api_key(options: ServiceOptions, environment: Mapping[str, str] = os.environ) -> ApiKey | None:
    """Return the key of a service, or None if it needs none.

    Raises:
        ExperimentError: the key cannot be read or is too short, or two are given; or others can reach the service, and
            it has no key or names no hosts.
    """
    named = environment.get(KEY_VARIABLE)
    if options.api_key_file is not None:
        if named is not None:
            raise ExperimentError(f"give the API key by --api_key_file or by {KEY_VARIABLE}, not by both")
        named = read_key(Path(options.api_key_file).expanduser())
    if options.host not in LOOPBACK:
        if named is None:
            raise ExperimentError(
                f"--host {options.host} lets other machines in, which needs an API key: name a file that holds it with "
                f"--api_key_file, or set {KEY_VARIABLE}"
            )
        if not options.allowed_hosts:
            raise ExperimentError(
                f"--host {options.host} lets other machines in; say by which names they call this one, as in "
                "--allowed_hosts [models.example.org]"
            )
    return None if named is None else ApiKey.of(named)


def read_key(path: Path) -> str:
    """Return the key in a file.

    Raises:
        ExperimentError: it cannot be read, or is no key.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_KEY_FILE + 1)
        if len(content) > LARGEST_KEY_FILE:
            raise ExperimentError(f"{path} is larger than {LARGEST_KEY_FILE:,} bytes, so it is no key")
        return content.decode().strip()
    except OSError as error:
        raise ExperimentError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ExperimentError(f"{path} is not text, so it is no key") from None


def folders_of(names: Sequence[str]) -> dict[str, Path]:
    """Return the run folders that a person named, by the names that requests use.

    Raises:
        ExperimentError: there are none or too many, one is no run folder or a language model, or one is named twice.
        ConfigurationError, DataError: the configuration of one cannot be read.
    """
    if not 1 <= len(names) <= MOST_RUNS:
        raise ExperimentError(f"{len(names)} runs are named; give one to {MOST_RUNS} run folders")
    folders = [run_folder(name) for name in names]
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ExperimentError("a run folder is named twice; name each once")
    for folder in folders:
        task = load_run_config(folder).task
        if task in LANGUAGE_TASKS:
            raise ExperimentError(
                f"{folder} is a language model ({task}), and the service answers with classes only; ask it with: "
                f"python -m experiments.predict {folder} {'--prompt' if task == CAUSAL_LM.name else '--text'} …"
            )
    return dict(zip(run_names(folders), folders, strict=True))
