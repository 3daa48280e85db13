"""One thread for every model test (bit-equality is promised for equal numbers of threads), and no deadlines."""

from __future__ import annotations

import logging

import pytest
import torch
from hypothesis import settings

settings.register_profile("models", deadline=None, max_examples=50)  # a busy machine is no failure
settings.load_profile("models")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    yield
    torch.set_num_threads(threads)
