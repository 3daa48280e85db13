"""Measure the service against its bare model, in rounds that a busy machine slows alike.

    python -m experiments.serving RUN --seconds 10 --rounds 5

It starts ``experiments.serve RUN`` and asks it from this process in four ways: requests of 32 texts; one text at a time
by one client and by 32 clients; and single texts at random times, at half of that rate. Between these it runs the
network alone on the same rows: in batches of 32, in the parts of similar length that the service makes of them, and one
by one. A peer answers the texts too: the pipeline of transformers over an untrained BERT of the same size, with the
run's tokenizer. It takes one text at a time, then batches of 32. What is printed are medians over rounds, and ratios.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from jsonargparse import Namespace
from jsonargparse.typing import PositiveFloat, PositiveInt
from rich.console import Console

from experiments.errors import ExperimentError, readable_errors
from experiments.paths import REPOSITORY
from experiments.planning.parser import StrictParser
from experiments.planning.saved_runs import run_folder
from experiments.reporting.render import TextTable

TOGETHER = 32
TEXTS = 512


@dataclass
class Load:
    """What clients saw: seconds of each answer, how many texts were answered, and in what time."""

    seconds: list[float] = field(default_factory=list)
    texts: int = 0
    refused: int = 0
    took: float = 1.0

    @property
    def rate(self) -> float:
        """Texts a second."""
        return self.texts / self.took

    def quantile(self, share: float) -> float:
        """Milliseconds below which this share of the answers came."""
        return 1e3 * float(np.quantile(self.seconds, share)) if self.seconds else float("nan")


class Client:
    """One connection that is kept open; it is as cheap as Python allows, so that the service has a core for itself."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def __aenter__(self) -> Client:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *error: object) -> None:
        self.writer.close()

    async def ask(self, texts: Sequence[str]) -> int:
        """Send texts as one request and return the status of its answer."""
        body = json.dumps({"text": list(texts)}).encode()
        head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: application/json\r\n"
        self.writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", answer)
        await self.reader.readexactly(int(length[1]) if length else 0)
        return int(answer.split(b" ", 2)[1])


async def closed_load(port: int, texts: Sequence[str], clients: int, size: int, seconds: float) -> Load:
    """Have each of some clients ask again as soon as it is answered."""
    load, started = Load(), time.perf_counter()

    async def one(place: int) -> None:
        async with Client(port) as client:
            while time.perf_counter() - started < seconds:
                asked, place = time.perf_counter(), place + 1
                first = place * size % len(texts)
                chosen = texts[first : first + size]
                note(load, await client.ask(chosen), len(chosen), time.perf_counter() - asked)

    await asyncio.gather(*(one(37 * number) for number in range(clients)))
    load.took = time.perf_counter() - started
    return load


async def open_load(port: int, texts: Sequence[str], rate: float, seconds: float) -> Load:
    """Ask single texts at random times, whatever the service does (a Poisson process); late answers count whole."""
    load, started, chance = Load(), time.perf_counter(), random.Random(0)
    idle: list[Client] = []
    asked: set[asyncio.Task[None]] = set()

    async def one(due: float) -> None:
        client = idle.pop() if idle else await Client(port).__aenter__()
        note(load, await client.ask([chance.choice(texts)]), 1, time.perf_counter() - due)
        idle.append(client)

    due = started
    while due - started < seconds:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        asked.add(asyncio.create_task(one(due)))
        due += chance.expovariate(rate)
    await asyncio.gather(*asked)
    load.took = time.perf_counter() - started
    for client in idle:
        await client.__aexit__()
    return load


def note(load: Load, status: int, texts: int, seconds: float) -> None:
    """Note an answer; a refusal counts apart."""
    if status == 200:
        load.texts += texts
        load.seconds.append(seconds)
    else:
        load.refused += 1


def bare_rate(batches: list[dict[str, object]], network: object, seconds: float) -> float:
    """Return the texts a second that the network answers alone, tokens ready."""
    import torch
    from torch import Tensor

    from lightning_modules.network.network import Network

    assert isinstance(network, Network)
    texts, started = 0, time.perf_counter()
    with torch.inference_mode():
        while time.perf_counter() - started < seconds:
            for batch in batches:
                ids, mask = batch["input_ids"], batch["attention_mask"]
                assert isinstance(ids, Tensor) and isinstance(mask, Tensor)
                network(ids, mask)
                texts += len(ids)
                if time.perf_counter() - started >= seconds:
                    break
    return texts / (time.perf_counter() - started)


def measure(folder: Path, parsed: Namespace, console: Console) -> TextTable:
    """Start the service, measure it and the bare network in turn, and return the table."""
    command = [sys.executable, "-m", "experiments.serve", str(folder.resolve()), "--port", "0", *parsed.options]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    try:
        port = port_of(process)
        asyncio.run(first_answer(port))
        first = time.perf_counter() - started
        console.print(f"from start to first answer: {first:.1f} s", highlight=False)
        rounds = [one_round(folder, port, parsed) for _ in range(parsed.rounds)]
    finally:
        process.terminate()
        process.communicate()
    return table_of(rounds)


async def first_answer(port: int) -> None:
    """Wait for the first answer; the port is open a moment after the service has started."""
    while True:
        try:
            async with Client(port) as client:
                await client.ask(["a first text"])
                return
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)


def port_of(process: subprocess.Popen[str]) -> int:
    """Wait until the service says that it listens, and return its port.

    Raises:
        ExperimentError: it ended, with the reason that it gave.
    """
    assert process.stderr is not None
    port, last = 0, ""
    for line in process.stderr:
        found = re.search(r"at http://127\.0\.0\.1:(\d+),", line)
        port, last = int(found[1]) if found else port, line
        if "startup complete" in line:
            import threading

            threading.Thread(target=process.stderr.read, daemon=True).start()  # so that its pipe is never full
            return port
    raise ExperimentError(f"the service did not start: {last.strip().removeprefix('error: ')}")


def one_round(folder: Path, port: int, parsed: Namespace) -> dict[str, float]:
    """Measure everything once, service and bare network in turn."""
    texts, network, batches, parts, singles = rows_of_run(folder)
    found = {"bare, 32 together": bare_rate(batches, network, parsed.seconds)}
    found["service, 32 in a request"] = asyncio.run(closed_load(port, texts, 2, TOGETHER, parsed.seconds)).rate
    found["bare, 32 by length"] = bare_rate(parts, network, parsed.seconds)
    found["bare, one by one"] = bare_rate(singles, network, parsed.seconds)
    alone = asyncio.run(closed_load(port, texts, 1, 1, parsed.seconds))
    many = asyncio.run(closed_load(port, texts, TOGETHER, 1, parsed.seconds))
    half = asyncio.run(open_load(port, texts, many.rate / 2, parsed.seconds))
    found |= {"service, one client": alone.rate, "service, 32 clients": many.rate}
    found |= {"one client, p50 ms": alone.quantile(0.5), "one client, p99 ms": alone.quantile(0.99)}
    found |= {"half load, p50 ms": half.quantile(0.5), "half load, p99 ms": half.quantile(0.99)}
    peer = peer_of_run(folder)
    for name, size in (("pipeline, one by one", 1), ("pipeline, 32 together", TOGETHER)):
        found[name] = peer_rate(peer, texts, size, parsed.seconds)
    found["refused"] = many.refused + half.refused
    found["32 in a request ÷ bare"] = found["service, 32 in a request"] / found["bare, 32 together"]
    found["32 in a request ÷ bare by length"] = found["service, 32 in a request"] / found["bare, 32 by length"]
    found["32 clients ÷ pipeline"] = many.rate / found["pipeline, one by one"]
    gain = found["bare, 32 together"] / found["bare, one by one"]
    found["gain of batches ÷ bare gain"] = many.rate / alone.rate / gain
    found["half load, p99 ÷ p50"] = half.quantile(0.99) / half.quantile(0.5)
    return found


Rows = list[dict[str, Any]]
"""Batches of tokens, as :func:`bare_rate` takes them."""


@cache
def rows_of_run(folder: Path) -> tuple[list[str], Any, Rows, Rows, Rows]:
    """Return texts of a run's evaluated rows, its network, and their tokens; loaded once.

    The tokens come in batches of 32, in parts of similar length that the service makes of these, and one by one.
    """
    from data_modules.batches.batching import BatchDataset
    from experiments.runs.inference import TrainedModel
    from experiments.serving.served_run import parts_by_length

    trained = TrainedModel.load(folder)
    network, data = trained.module.cpu().eval().network, trained.data
    split = "test" if data.config.stage == "final" else "validation"
    texts, encoded = data.texts(split)[:TEXTS], data.split(split)
    rows = BatchDataset(encoded, data.encoded.tokenizer.padding_id)
    places = [np.arange(first, min(first + TOGETHER, len(texts))) for first in range(0, len(texts), TOGETHER)]
    parts = [batch[part] for batch in places for part in parts_by_length(encoded.lengths[batch].tolist())]
    # the rows of the requests, in their order, so that both sides have the same padding
    batches, similar, singles = (
        [dict(rows[place]) for place in chosen]
        for chosen in (places, parts, [np.array([place]) for place in range(len(texts))])
    )
    return texts, network, batches, similar, singles


@cache
def peer_of_run(folder: Path) -> Any:
    """Return the text-classification pipeline of transformers over a BERT of the run's size, with random weights.

    It has the run's width, blocks, heads, feed-forward units, vocabulary, classes and tokenizer. So both do the same
    work, and only the answers differ.
    """
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        PreTrainedTokenizerFast,
        TextClassificationPipeline,
    )

    from experiments.runs.inference import TrainedModel

    trained = TrainedModel.load(folder)
    config, facts, tokenizer = trained.module.config, trained.data.facts, trained.data.encoded.tokenizer
    bert = BertForSequenceClassification(
        BertConfig(
            vocab_size=facts.vocabulary_size,
            hidden_size=config.width,
            num_hidden_layers=config.depth,
            num_attention_heads=config.heads,
            intermediate_size=config.hidden_width,
            max_position_embeddings=facts.max_length,
            num_labels=len(facts.class_names),
            pad_token_id=facts.padding_id,
        )
    ).eval()
    pieces = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend,
        pad_token=tokenizer.backend.id_to_token(facts.padding_id),
        model_max_length=facts.max_length,
    )
    return TextClassificationPipeline(model=bert, tokenizer=pieces, device=-1)


def peer_rate(pipeline: Any, texts: Sequence[str], size: int, seconds: float) -> float:
    """Return the texts a second that the peer answers, in batches of a size, in this process without HTTP."""
    answered, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        first = answered % len(texts)
        answered += len(pipeline(list(texts[first : first + size]), batch_size=size, truncation=True))
    return answered / (time.perf_counter() - started)


def table_of(rounds: list[dict[str, float]]) -> TextTable:
    """Return medians over rounds, with the least and the largest."""
    rows = []
    for name in rounds[0]:
        values = [each[name] for each in rounds]
        digits = 0 if max(values) >= 100 else 2
        rows.append([name, *(f"{value:.{digits}f}" for value in (median(values), min(values), max(values)))])
    return TextTable(["texts a second, milliseconds, ratios", "median", "least", "largest"], rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure a run's service; mistakes end with one line and status 2."""
    with readable_errors():
        parsed = parse(sys.argv[1:] if arguments is None else arguments)
        from experiments.reporting.console import printed

        console = Console(force_jupyter=False)
        console.print(printed(measure(run_folder(parsed.run), parsed, console)))


def parse(arguments: Sequence[str]) -> Namespace:
    """Return the options of the command line."""
    parser = StrictParser(prog="python -m experiments.serving", description=__doc__)
    parser.add_argument("run", type=str, help="run folder with a checkpoint")
    parser.add_argument("--seconds", type=PositiveFloat, default=10.0, help="seconds of every measurement")
    parser.add_argument("--rounds", type=PositiveInt, default=5, help="rounds of all measurements")
    parser.add_argument(
        "--options", type=list[str], default=[], help="options of the service, as [--precision,bfloat16]"
    )
    return parser.parse_args(list(arguments))


if __name__ == "__main__":
    main()
