"""Whether the Hugging Face Hub can be asked, and how to keep ``datasets`` from asking it."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

PROBE_SECONDS = 1.5


def is_reachable() -> bool:
    """Say within two seconds whether the Hub answers; never asks where ``HF_HUB_OFFLINE`` is set.

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
    return answered.wait(PROBE_SECONDS + 0.3)


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
