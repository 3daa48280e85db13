"""The page in a real browser: bars for every run, and no script from a text."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

pytest.importorskip("fastapi", reason="requirements-serve.txt is not installed")

import uvicorn

from experiments.serving.listening import bound, settings
from experiments.serving.options import ServiceOptions
from experiments.serving.served_run import ServedRun
from experiments.serving.service import build_service

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no browser of the Chromium family is installed"),
]


@pytest.fixture(scope="module")
def address(run: Path) -> Iterator[str]:
    options = ServiceOptions(port=0)
    first = ServedRun.load("first", run, options)
    with bound(options) as listener:
        service = build_service([first, replace(first, name="<i>second</i>")], options)
        server = uvicorn.Server(settings(service, options, None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield "http://{}:{}".format(*listener.getsockname())
        server.should_exit = True
        thread.join()


def seen(url: str, profile: Path) -> str:
    """The document as the browser has it once scripts have run."""
    assert BROWSER is not None
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", f"--user-data-dir={profile}"]
    done = subprocess.run([BROWSER, *flags, "--dump-dom", url], capture_output=True, text=True, timeout=90)
    return done.stdout


def test_a_text_becomes_a_card_of_bars_for_every_run(address: str, tmp_path: Path) -> None:
    page = seen(f"{address}/#text={quote('MAX 1 2 ] <img src=x onerror=document.title=1>')}", tmp_path)
    cards = re.findall(r"<article.*?</article>", page, flags=re.DOTALL)
    assert len(cards) == 2 and "<i>" not in "".join(cards) and "&lt;i&gt;second" in cards[1]
    for card in cards:
        widths = [float(width) for width in re.findall(r"width: ([\d.]+)%", card)]
        assert len(widths) == 10 and sum(widths) == pytest.approx(100, abs=0.1) and widths == sorted(widths)[::-1]
        assert card.count('class="class best"') == 1
    assert "<title>ResNorm Lab" in page and "onerror" not in "".join(cards)


def test_a_refusal_is_shown_as_text_and_the_interface_is_listed(address: str, tmp_path: Path) -> None:
    assert "text 1 is empty" in seen(f"{address}/#text=%20", tmp_path)
    listed = seen(f"{address}/docs", tmp_path)
    assert "POST /predict" in listed and "ErrorReply" in listed
