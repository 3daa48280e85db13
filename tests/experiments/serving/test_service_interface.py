"""The service does what its own description says: schemathesis makes requests from it and judges every answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from experiments.serving.options import ServiceOptions
from experiments.serving.served_run import ServedRun
from experiments.serving.service import build_service

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis of requirements-dev.txt is not installed")

WORDLESS = ("is empty", "has no word that the run knows")
"""What the service says of a text that fits the description, and that no network could answer."""
JUDGED = {
    "positive_data_acceptance": {"expected-statuses": ["2xx", 422]},
    "negative_data_rejection": {"expected-statuses": [400, 413, 415, 422]},
}
OPERATIONS = [("/predict", "POST"), ("/health", "GET"), ("/info", "GET"), ("/metrics", "GET")]


@pytest.fixture(scope="module")
def described(run: Path) -> Iterator[Any]:
    """The description of a service, and the service behind it."""
    from schemathesis.python.asgi import HOST, shutdown_lifespans

    options = ServiceOptions(most_texts=3, most_characters=40, most_bytes=2_000, allowed_hosts=(HOST,))
    served = ServedRun.load("tiny", run, options)
    config = schemathesis.Config.from_dict({"checks": JUDGED})
    yield schemathesis.openapi.from_asgi("/openapi.json", build_service([served], options), config=config)
    shutdown_lifespans()


def judge(described: Any, path: str, method: str, mode: Any, examples: int) -> set[int]:
    """Send requests of one kind, good or bad ones, and return the statuses that came back.

    Every answer must have a status, a type and a body of the description, and only good requests may be accepted.
    """
    statuses = set()

    @hypothesis.settings(
        max_examples=examples,
        database=None,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=described[path][method].as_strategy(generation_mode=mode))
    def answered(case: Any) -> None:
        response = case.call_and_validate()
        statuses.add(response.status_code)
        if mode.is_positive and response.status_code == 422:
            assert response.json()["error"].endswith(WORDLESS)

    answered()
    return statuses


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_answers_to_good_requests_are_those_of_the_description(described: Any, path: str, method: str) -> None:
    examples = 15 if path == "/predict" else 2
    assert judge(described, path, method, schemathesis.GenerationMode.POSITIVE, examples) <= {200, 422}


def test_bad_requests_are_refused_as_the_description_says(described: Any) -> None:
    statuses = judge(described, "/predict", "POST", schemathesis.GenerationMode.NEGATIVE, 25)
    assert statuses and 200 not in statuses


@pytest.mark.stress
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_two_thousand_requests_find_no_gap_in_the_description(described: Any, mode: Any) -> None:
    statuses = judge(described, "/predict", "POST", mode, 1_000)
    assert len(statuses) > 1
