"""The application: routes of the service, over the runs that it was started with."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException

from data_modules.errors import nearest
from experiments.errors import ExperimentError
from experiments.serving.gathering import Gatherer, QueueFull
from experiments.serving.guard import Guard, Refusal
from experiments.serving.observing import SHARED_FOLDER, Observations, forget_dead_processes
from experiments.serving.options import ApiKey, ServiceOptions
from experiments.serving.served_run import ServedRun, TextAnswer
from lightning_modules.errors import shortened

PAGE = Path(__file__).parent / "page"
LONGEST_NAME = 200
"""Characters of a run's name in a request."""
PAGES = {
    "/": ("index.html", "text/html"),
    "/docs": ("docs.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/docs.js": ("docs.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}
"""Files that a browser gets, by path."""


class Question(BaseModel):
    """Texts to classify."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str | list[str] = Field(description="One text, or a list of texts.")
    run: str | None = Field(None, description="Name of one of the runs in /info; the first of them by default.")


class ClassAnswer(BaseModel):
    """The classes of one text."""

    label: str = Field(description="The most probable class.")
    probability: float = Field(description="Its probability.")
    probabilities: dict[str, float] = Field(description="Probability of every class.")
    is_full: bool = Field(description="Whether the text fills what the run reads; whatever follows was not read.")


class Reply(BaseModel):
    """The classes of all texts of a request, in their order."""

    run: str
    answers: list[ClassAnswer]


class ErrorReply(BaseModel):
    """Why a request has no answer."""

    error: str


@dataclass(frozen=True)
class ServedRuns:
    """What the routes share: runs, the queue of texts that each has while the service lives, limits and counts."""

    runs: Mapping[str, ServedRun]
    """By name; the first one answers if a request names none."""
    options: ServiceOptions
    observations: Observations
    queues: dict[str, Gatherer[TextAnswer]] = field(default_factory=dict)

    @asynccontextmanager
    async def living(self, application: FastAPI) -> AsyncIterator[None]:
        """Gather texts for the runs while the application lives; one thread computes for all of them."""
        threads = (self.options.threads,)  # a setting of each thread
        executor = ThreadPoolExecutor(1, "model", torch.set_num_threads, threads)
        for name, run in self.runs.items():
            self.queues[name] = Gatherer(run.answer, executor, self.options, partial(self.observations.batch, name))
        loops = [asyncio.create_task(queue.run()) for queue in self.queues.values()]
        yield
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        executor.shutdown()

    async def answer(self, run: ServedRun, texts: list[str]) -> Reply:
        """Let a run answer texts and count them.

        Raises:
            Refusal: the queue is full, time is up, the run failed, or a text has no answer.
        """
        options = self.options
        try:
            answers = await self.queues[run.name].submit(texts)
        except QueueFull:
            raise Refusal(429, f"more than {options.most_waiting} texts would wait; try again in a second") from None
        except TimeoutError:
            raise Refusal(503, f"there is no answer within {options.seconds:g} seconds; try again later") from None
        except ExperimentError as error:
            raise Refusal(500, str(error)) from None
        reply = reply_of(run, answers)
        self.observations.texts.labels(run.name).inc(len(texts))
        return reply

    def is_stuck(self) -> bool:
        """Tell whether a batch has taken longer than the time limit."""
        started = [queue.busy_since for queue in self.queues.values() if queue.busy_since is not None]
        return any(time.monotonic() - since > self.options.seconds for since in started)


def build_service(
    runs: Sequence[ServedRun],
    options: ServiceOptions,
    key: ApiKey | None = None,
) -> Guard:
    """Build the application of loaded runs.

    Args:
        runs: those that answer; the first one does if a request names none.
        options: limits.
        key: what requests must bring, if anything.
    """
    served = ServedRuns({run.name: run for run in runs}, options, Observations())
    application = FastAPI(
        title="ResNorm Lab",
        description="Classes of texts by trained runs. An error comes as JSON with its reason in the field `error`.",
        version="1",
        lifespan=served.living,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    secured: dict[str, Any] = {"security": [{"key": []}]} if key is not None else {}
    add_pages(application)
    add_faults(application)
    add_answers(application, served, secured)
    add_state(application, served, secured)
    if key is not None:
        name_the_key(application)
    return Guard(application, options, key, served.observations)


def add_answers(application: FastAPI, served: ServedRuns, secured: Mapping[str, Any]) -> None:
    """Add the route that classifies texts; ``secured`` describes the key that it asks for."""

    @application.post(
        "/predict",
        response_model=Reply,
        responses={status: {"model": ErrorReply} for status in (400, 401, 408, 413, 415, 422, 429, 500, 503)},
        openapi_extra={"requestBody": question_body(served.options, list(served.runs)), **secured},
    )
    async def predict(request: Request) -> Response:
        """Classify one text or a list of texts."""
        texts, run = read_question(request.headers, await request.body(), served.options, served.runs)
        request.scope["noted"] = {"run": run.name, "texts": len(texts)}
        reply = await served.answer(run, texts)
        return Response(reply.model_dump_json(), media_type="application/json")


def add_state(application: FastAPI, served: ServedRuns, secured: Mapping[str, Any]) -> None:
    """Add the routes that tell how the service is: its health, its runs and limits, and its counts."""
    options = served.options

    @application.get("/health", responses={503: {"model": ErrorReply}})
    async def health() -> dict[str, str]:
        """Tell whether the service answers: no batch has taken longer than the time limit."""
        if served.is_stuck():
            raise Refusal(503, f"a batch has taken longer than {options.seconds:g} seconds")
        return {"status": "ok"}

    @application.get("/info", openapi_extra=dict(secured), responses={401: {"model": ErrorReply}})
    async def info() -> dict[str, Any]:
        """Tell which runs there are, and the limits of a request."""
        limits = ("most_texts", "most_characters", "most_bytes", "most_waiting", "seconds")
        return {
            "runs": [run.info() for run in served.runs.values()],
            "limits": {name: getattr(options, name) for name in limits},
        }

    @application.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, 401: {"model": ErrorReply}},
        openapi_extra=dict(secured),
    )
    async def metrics() -> Response:
        """Show counters and histograms in Prometheus' text format."""
        for name, queue in served.queues.items():
            served.observations.waiting.labels(name).set(queue.count)
        return Response(served.observations.page(), media_type="text/plain; version=0.0.4; charset=utf-8")


def add_pages(application: FastAPI) -> None:
    """Add the page, its script and style, and the page that shows the description of the service."""
    for path, (name, kind) in PAGES.items():
        answer = partial(FileResponse, PAGE / name, media_type=kind)
        application.add_api_route(path, endpoint_of(answer), include_in_schema=False)


def endpoint_of(answer: partial[FileResponse]) -> Any:
    """Return an endpoint without parameters, which FastAPI would take those of a partial for."""

    async def page() -> FileResponse:
        return answer()

    return page


def add_faults(application: FastAPI) -> None:
    """Give every error the form ``{"error": reason}``."""

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        headers = {"retry-after": "1"} if error.status in (429, 503) else {}
        headers |= {"connection": "close"} if error.status in (408, 413) else {}
        return JSONResponse({"error": error.reason}, error.status, headers)

    async def not_found(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return JSONResponse({"error": str(error.detail).lower()}, error.status_code, error.headers)

    async def failed(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": "the service failed on this request; its log says where"}, 500)

    application.add_exception_handler(Refusal, refused)
    application.add_exception_handler(HTTPException, not_found)
    application.add_exception_handler(Exception, failed)


def question_body(options: ServiceOptions, names: Sequence[str]) -> dict[str, Any]:
    """Describe the body of a question, with the limits and the runs of this service."""
    schema = Question.model_json_schema()
    one = {"type": "string", "minLength": 1, "maxLength": options.most_characters}
    many = {"type": "array", "items": one, "minItems": 1, "maxItems": options.most_texts}
    schema["properties"]["text"] |= {"anyOf": [one, many]}
    schema["properties"]["run"] |= {"anyOf": [{"type": "string", "enum": list(names)}, {"type": "null"}]}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def name_the_key(application: FastAPI) -> None:
    """Say in the description of the service that a key is asked for."""
    described = application.openapi()
    described.setdefault("components", {})["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}


def read_question(
    headers: Mapping[str, str], body: bytes, options: ServiceOptions, runs: Mapping[str, ServedRun]
) -> tuple[list[str], ServedRun]:
    """Return the texts of a request and the run that is to answer them.

    Raises:
        Refusal: with status 400, 404, 413, 415 or 422; the reason names no text.
    """
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "send JSON, with the header Content-Type: application/json")
    try:
        question = Question.model_validate_json(body)
    except ValidationError as error:
        raise refusal_of(error) from None
    name = next(iter(runs)) if question.run is None else question.run
    if name not in runs:
        raise Refusal(422, f"run {shortened(name, LONGEST_NAME)!r} is not served{nearest(name[:LONGEST_NAME], runs)}")
    texts = [question.text] if isinstance(question.text, str) else question.text
    if not texts:
        raise Refusal(422, "text is an empty list; send at least one text")
    if len(texts) > options.most_texts:
        raise Refusal(413, f"{len(texts):,} texts are more than the {options.most_texts:,} of a request; send parts")
    for number, text in enumerate(texts, start=1):
        if len(text) > options.most_characters:
            raise Refusal(
                413, f"text {number} has {len(text):,} characters, and a text may have {options.most_characters:,}"
            )
        if not text.strip():
            raise Refusal(422, f"text {number} is empty")
    return texts, runs[name]


def refusal_of(error: ValidationError) -> Refusal:
    """Say what is wrong with a body, without quoting it."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return Refusal(400, f"the body is no JSON in UTF-8: {first['msg'].removeprefix('Invalid JSON: ')}")
    known = [part for part in first["loc"] if isinstance(part, int) or part in Question.model_fields]
    place = ".".join(str(part + 1) if isinstance(part, int) else part for part in known)
    if first["type"] == "extra_forbidden":
        return Refusal(422, "the body has a field besides text and run")
    return Refusal(422, f"{place or 'the body'}: {first['msg'][0].lower()}{first['msg'][1:]}")


def reply_of(run: ServedRun, answers: Sequence[TextAnswer]) -> Reply:
    """Put the answers of a run into words.

    Raises:
        Refusal: a text has none.
    """
    replies = []
    for number, answer in enumerate(answers, start=1):
        if answer.fault is not None:
            raise Refusal(422, f"text {number} {answer.fault}")
        best = max(range(len(run.class_names)), key=answer.probabilities.__getitem__)
        replies.append(
            ClassAnswer(
                label=run.class_names[best],
                probability=answer.probabilities[best],
                probabilities=dict(zip(run.class_names, answer.probabilities, strict=True)),
                is_full=answer.is_full,
            )
        )
    return Reply(run=run.name, answers=replies)


def service_of(folders: Mapping[str, Path], options: ServiceOptions, key: ApiKey | None) -> Guard:
    """Load runs and build their application, in the process that is to answer.

    Raises:
        ExperimentError, ConfigurationError, DataError: a run cannot be used.
    """
    if SHARED_FOLDER in os.environ:
        forget_dead_processes(Path(os.environ[SHARED_FOLDER]))
    return build_service([ServedRun.load(name, folder, options) for name, folder in folders.items()], options, key)
