"""Texts of requests that arrive together, answered as one batch by the one thread that computes."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from experiments.serving.options import ServiceOptions

AnswerT = TypeVar("AnswerT")


class QueueFull(Exception):
    """More texts would wait than the limit allows."""


@dataclass(eq=False)
class Waiting(Generic[AnswerT]):
    """A request some of whose texts are not answered yet."""

    texts: Sequence[str]
    done: asyncio.Future[list[AnswerT]]
    order: deque[int]
    """Positions of the texts that no batch has taken, those of similar length next to each other."""
    answers: dict[int, AnswerT] = field(default_factory=dict)


class Gatherer(Generic[AnswerT]):
    """A bounded queue of requests, and the loop that answers their texts in batches.

    While one batch is computed, the next one gathers. If several requests came together, the loop waits up to
    ``patience`` for as many to come again: their clients have just got their answers. Each batch takes texts from all
    waiting requests in turn, so that a single text overtakes a request of a thousand.

    Args:
        answer: answers a batch of texts, in ``executor``.
        executor: has one thread, which several queues may share.
        options: limits.
        observe: called with size and seconds of every batch.
    """

    def __init__(
        self,
        answer: Callable[[list[str]], list[AnswerT]],
        executor: Executor,
        options: ServiceOptions,
        observe: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        self.answer, self.executor, self.options, self.observe = answer, executor, options, observe
        self.requests: deque[Waiting[AnswerT]] = deque()
        self.count = 0
        self.busy_since: float | None = None
        self._arrived = asyncio.Event()
        self._enough = asyncio.Event()
        self._expected = 0

    async def submit(self, texts: Sequence[str]) -> list[AnswerT]:
        """Return the answers of a request's texts, in their order.

        Raises:
            QueueFull: too many texts wait already.
            TimeoutError: there is no answer within the time limit; the texts are forgotten.
        """
        if self.count + len(texts) > self.options.most_waiting:
            raise QueueFull
        request: Waiting[AnswerT] = Waiting(
            texts,
            asyncio.get_running_loop().create_future(),
            deque(sorted(range(len(texts)), key=lambda position: len(texts[position]))),
        )
        self.requests.append(request)
        self.count += len(texts)
        self._arrived.set()
        if self.count >= self._expected:
            self._enough.set()
        try:
            return await asyncio.wait_for(request.done, self.options.seconds)
        finally:
            self._forget(request)

    def _forget(self, request: Waiting[AnswerT]) -> None:
        """Take a finished request out of the queue, with its texts that still wait."""
        with suppress(ValueError):
            self.requests.remove(request)
        self.count -= len(request.order)
        request.order.clear()

    async def run(self) -> None:
        """Answer batch after batch, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            await self._gather()
            batch = self._take()
            if not batch:
                continue
            texts = [request.texts[position] for request, position in batch]
            self.busy_since = time.monotonic()
            try:
                answers = await loop.run_in_executor(self.executor, self.answer, texts)
            except Exception as error:  # whatever it is, the service goes on
                for request, _ in batch:
                    if not request.done.done():
                        request.done.set_exception(error)
            else:
                self._hand_out(batch, answers)
            finally:
                self.observe(len(batch), time.monotonic() - self.busy_since)
                self.busy_since = None
            several = len({id(request) for request, _ in batch}) > 1
            self._expected = len(batch) if several else 0

    async def _gather(self) -> None:
        """Wait until as many texts are there as came together before, but no longer than ``patience``."""
        if self.count < self._expected:
            self._enough.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._enough.wait(), self.options.patience)

    def _take(self) -> list[tuple[Waiting[AnswerT], int]]:
        """Take texts off the queue, one of each request in turn."""
        batch: list[tuple[Waiting[AnswerT], int]] = []
        while self.requests and len(batch) < self.options.most_together:
            request = self.requests.popleft()
            batch.append((request, request.order.popleft()))
            if request.order:
                self.requests.append(request)
        self.count -= len(batch)
        if not self.requests:
            self._arrived.clear()
        return batch

    def _hand_out(self, batch: list[tuple[Waiting[AnswerT], int]], answers: Sequence[AnswerT]) -> None:
        for (request, position), answer in zip(batch, answers, strict=True):
            request.answers[position] = answer
            if len(request.answers) == len(request.texts) and not request.done.done():
                request.done.set_result([request.answers[place] for place in range(len(request.texts))])
