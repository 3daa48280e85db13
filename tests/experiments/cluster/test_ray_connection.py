"""An address without a Ray cluster is known before anything is sent there."""

import socket
import time
from collections.abc import Iterator

import pytest

from experiments.cluster.ray_cluster import require_cluster
from experiments.errors import ExperimentError


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "127.0.0.1:99999", "no.such.host.invalid:6379"])
def test_an_address_that_nobody_answers_is_known_at_once(address: str) -> None:
    started = time.monotonic()
    with pytest.raises(ExperimentError, match="--ray_address"):
        require_cluster(address)
    assert time.monotonic() - started < 20


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_something_else_than_ray_at_an_address_is_known_soon(silent_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.cluster.ray_cluster.ANSWER_SECONDS", 5.0)
    with pytest.raises(ExperimentError, match="no Ray cluster"):
        require_cluster(f"127.0.0.1:{silent_port}")
