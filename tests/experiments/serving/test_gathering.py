"""The queue of the service: batches, limits and fairness, with capitals in the place of a model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from experiments.serving.gathering import Gatherer, QueueFull
from experiments.serving.options import ServiceOptions

Batches = list[list[str]]


def played(
    play: Callable[[Gatherer[str]], Awaitable[Any]], *, seconds: float = 0.0, limit: float = 30.0, **limits: Any
) -> tuple[Any, Batches]:
    """Let ``play`` use a queue whose answers are the texts in capitals; return its result and the batches."""
    batches: Batches = []

    def answer(texts: list[str]) -> list[str]:
        batches.append(texts)
        time.sleep(seconds)
        if "broken" in texts:
            raise RuntimeError("broken")
        return [text.upper() for text in texts]

    async def whole() -> Any:
        with ThreadPoolExecutor(1) as executor:
            queue = Gatherer(answer, executor, ServiceOptions(seconds=limit, **limits))
            loop = asyncio.create_task(queue.run())
            try:
                result = await play(queue)
                assert queue.count == 0 and not queue.requests
                return result
            finally:
                loop.cancel()

    return asyncio.run(whole()), batches


def test_answers_come_in_the_order_of_the_texts() -> None:
    result, batches = played(lambda queue: queue.submit(["ccc", "a", "bb"]))
    assert result == ["CCC", "A", "BB"]
    assert batches == [["a", "bb", "ccc"]]  # those of similar length are padded least


def test_requests_that_come_during_a_batch_make_the_next_one_together() -> None:
    async def play(queue: Gatherer[str]) -> list[list[str]]:
        first = asyncio.create_task(queue.submit(["first"]))
        await asyncio.sleep(0.02)
        later = [asyncio.create_task(queue.submit([f"text {number}"])) for number in range(8)]
        return await asyncio.gather(first, *later)

    result, batches = played(play, seconds=0.05)
    assert result == [["FIRST"], *[[f"TEXT {number}"] for number in range(8)]]
    assert [len(batch) for batch in batches] == [1, 8]


def test_clients_that_come_back_together_are_waited_for_and_a_lone_one_is_not() -> None:
    async def client(queue: Gatherer[str], number: int) -> None:
        for _ in range(4):
            await queue.submit([f"text {number}"])
            await asyncio.sleep(0.001 * number)

    async def play(queue: Gatherer[str]) -> float:
        await asyncio.gather(*(client(queue, number) for number in range(4)))
        started = time.monotonic()
        for _ in range(20):
            await queue.submit(["alone"])
        return time.monotonic() - started

    alone, batches = played(play, patience=0.5)
    assert [len(batch) for batch in batches[:4]] == [4, 4, 4, 4]
    assert alone < 20 * 0.5 / 2  # the first alone may wait once


def test_a_batch_holds_no_more_than_the_limit_and_a_single_text_overtakes_a_long_request() -> None:
    async def play(queue: Gatherer[str]) -> list[int]:
        ended: list[int] = []

        async def ask(number: int, texts: list[str]) -> None:
            await queue.submit(texts)
            ended.append(number)

        await asyncio.gather(ask(0, ["long"] * 100), ask(1, ["short"]))
        return ended

    ended, batches = played(play, most_together=8)
    assert ended == [1, 0]
    assert max(len(batch) for batch in batches) == 8 and sum(len(batch) for batch in batches) == 101


def test_more_texts_than_may_wait_are_refused_and_the_others_are_answered() -> None:
    async def play(queue: Gatherer[str]) -> list[Any]:
        asked = [asyncio.create_task(queue.submit(["one", "two"])) for _ in range(10)]
        return await asyncio.gather(*asked, return_exceptions=True)

    results, _ = played(play, seconds=0.01, most_waiting=8, most_texts=8)
    refused = [result for result in results if isinstance(result, QueueFull)]
    assert len(refused) == 6
    assert [result for result in results if not isinstance(result, QueueFull)] == [["ONE", "TWO"]] * 4


def test_a_request_past_its_time_limit_is_forgotten() -> None:
    async def play(queue: Gatherer[str]) -> list[str]:
        with pytest.raises(TimeoutError):
            await queue.submit(["slow"] * 3)
        assert queue.count == 0
        await asyncio.sleep(0.3)
        return ["gone"]

    result, batches = played(play, seconds=0.2, most_together=1, limit=0.1)
    assert result == ["gone"] and len(batches) == 1


def test_a_batch_that_fails_fails_its_own_requests_alone() -> None:
    async def play(queue: Gatherer[str]) -> list[str]:
        with pytest.raises(RuntimeError, match="broken"):
            await queue.submit(["fine", "broken"])
        return await queue.submit(["fine"])

    result, _ = played(play)
    assert result == ["FINE"]
