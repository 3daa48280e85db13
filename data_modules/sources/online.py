"""Whether the Hugging Face Hub can be asked, what of it is on this machine, and how to keep ``datasets`` from asking.

Free of ``datasets`` and pandas until :func:`offline` is used: an answer without network is to come at once.
"""

from __future__ import annotations

import os
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROBE_SECONDS = 0.9


def is_reachable() -> bool:
    """Say within about a second whether the Hub answers; never asks where ``HF_HUB_OFFLINE`` is set.

    Name resolution has no time limit of its own, so the request runs in a thread that is left behind.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    answered = threading.Event()

    def ask() -> None:
        try:
            request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
            urllib.request.urlopen(request, timeout=PROBE_SECONDS).close()
        except urllib.error.HTTPError:
            pass  # an answer all the same
        except (OSError, ValueError):
            return
        answered.set()

    threading.Thread(target=ask, daemon=True).start()
    return answered.wait(PROBE_SECONDS + 0.1)


def is_cached(dataset: str) -> bool:
    """Say whether ``datasets`` or ``huggingface_hub`` has kept anything of a data set (``owner/name``) here.

    Both name a folder after the id; some versions of one of them use small letters.
    """
    from huggingface_hub import constants

    built = Path(os.environ.get("HF_DATASETS_CACHE", Path(constants.HF_HOME) / "datasets")).expanduser()
    places = {
        built: dataset.replace("/", "___"),
        Path(constants.HF_HUB_CACHE): "datasets--" + dataset.replace("/", "--"),
    }
    return any(
        folder.is_dir() and any(entry.name.lower() == name.lower() for entry in folder.iterdir())
        for folder, name in places.items()
    )


@contextmanager
def offline() -> Iterator[None]:
    """Keep ``datasets`` from using the network, so that what is not cached fails at once."""
    import datasets.config

    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before


def reason_of(error: Exception) -> str:
    """Return why ``datasets`` could not load a data set, in one line; one of several configurations is asked for."""
    lines = str(error).splitlines() or [type(error).__name__]
    if lines[0].startswith("Config name is missing"):
        return f"it has several configurations; choose one with data.configuration ({' '.join(lines[1:2]).strip()})"
    return lines[0]
