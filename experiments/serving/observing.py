"""What a service reports: structured log lines and metrics, none of which holds a text."""

from __future__ import annotations

import json
import logging
import os
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Variable that names the folder by which several processes share their metrics, set before they start."""
LOGGER = logging.getLogger("resnorm.service")
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class JsonLines(logging.Formatter):
    """One line of JSON for each event. An exception is its class and where it was raised.

    Its message and the lines of code stay out, since they may hold what a client sent.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a line of JSON."""
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "process": record.process,
        }
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[0]:
            line["exception"] = record.exc_info[0].__name__
            line["where"] = [f"{Path(frame.filename).name}:{frame.lineno}"
                             for frame in traceback.extract_tb(record.exc_info[2])][-8:]  # fmt: skip
        return json.dumps(line, ensure_ascii=True)


LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "experiments.serving.observing.JsonLines"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {"resnorm.service": {"level": "INFO"}, "uvicorn": {"level": "INFO"}},
}
"""How a service logs: lines of JSON on standard error."""


class Observations:
    """Counters and histograms of one process, shown with those of the other processes if there are several."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        given: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("resnorm_requests_total", "Requests by path and status.", ["path", "status"], **given)
        self.seconds = Histogram(
            "resnorm_request_seconds", "Seconds from a request to its answer.", ["path"], buckets=SECONDS, **given
        )
        self.texts = Counter("resnorm_texts_total", "Texts answered.", ["run"], **given)
        self.batch_texts = Histogram("resnorm_batch_texts", "Texts of a batch.", ["run"], buckets=SIZES, **given)
        self.batch_seconds = Histogram(
            "resnorm_batch_seconds", "Seconds of a batch, cleaning and tokens included.", ["run"], buckets=SECONDS,
            **given,
        )  # fmt: skip
        self.waiting = Gauge("resnorm_waiting_texts", "Texts that wait.", ["run"], multiprocess_mode="livesum", **given)

    def batch(self, run: str, size: int, seconds: float) -> None:
        """Note a batch of a run."""
        self.batch_texts.labels(run).observe(size)
        self.batch_seconds.labels(run).observe(seconds)

    def request(self, path: str, status: int, seconds: float) -> None:
        """Note an answered request; ``path`` is one that the service has, or ``other``."""
        self.requests.labels(path, str(status)).inc()
        self.seconds.labels(path).observe(seconds)

    def page(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        if SHARED_FOLDER not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        multiprocess.MultiProcessCollector(together)
        return generate_latest(together)


def forget_dead_processes(folder: Path) -> None:
    """Remove the gauges of processes that are gone, for example killed; their counters still count."""
    for path in folder.glob("gauge_live*_*.db"):
        process = path.stem.rpartition("_")[2]
        if process.isdigit() and not is_running(int(process)):
            with suppress(OSError):
                path.unlink()


def is_running(process: int) -> bool:
    """Tell whether there is a process with this id; the metrics of several processes need Unix anyway."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
