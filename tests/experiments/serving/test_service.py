"""The service over a tiny run: its answers are those of `predict`, and nothing that a client sends disturbs it."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from experiments import serve
from experiments.errors import ExperimentError
from experiments.runs.inference import TrainedModel
from experiments.serving.guard import Guard, host_of
from experiments.serving.listening import bound, settings
from experiments.serving.observing import JsonLines
from experiments.serving.options import ApiKey, ServiceOptions, api_key
from experiments.serving.served_run import PASS_COST, ServedRun, TextAnswer, parts_by_length
from experiments.serving.service import PAGE, build_service

TEXTS = ["MAX 1 2 ]", "MIN [SM 3 4 ] 7 ]", "MED 9 1 5 ]", "SM 2 2 ]"]
KEY = "correct-horse-battery"
OPTIONS = ServiceOptions(most_texts=8, most_characters=2_000, most_bytes=10_000, seconds=5.0)


@pytest.fixture(scope="session")
def served(run: Path) -> ServedRun:
    return ServedRun.load("tiny", run, ServiceOptions())


def client_of(service: Guard, host: str = "127.0.0.1:8000") -> TestClient:
    return TestClient(service, base_url=f"http://{host}", raise_server_exceptions=False)


@pytest.fixture(scope="module")
def client(served: ServedRun) -> Iterator[TestClient]:
    with client_of(build_service([served, replace(served, name="other")], OPTIONS)) as client:
        yield client


class Spoilt(ServedRun):
    """A run that takes its time and fails where a text says so."""

    def answer(self, texts: Any) -> list[TextAnswer]:
        time.sleep(0.3 if "slow" in texts else 0.02)
        if "secret failure" in texts:
            raise RuntimeError(f"failed at {texts}")
        return super().answer(["MAX 1 2 ]" for _ in texts])


@pytest.fixture(scope="module")
def spoilt(served: ServedRun) -> ServedRun:
    return Spoilt("spoilt", served.model)


def test_answers_are_those_of_predict(run: Path, client: TestClient) -> None:
    expected = TrainedModel.load(run).answer(TEXTS)
    reply = client.post("/predict", json={"text": TEXTS, "run": "other"}).json()
    assert reply["run"] == "other"
    found = [list(answer["probabilities"].values()) for answer in reply["answers"]]
    np.testing.assert_allclose(found, expected.probabilities, atol=1e-6)
    assert [answer["label"] for answer in reply["answers"]] == expected.predicted
    assert list(reply["answers"][0]["probabilities"]) == list(expected.class_names)
    one = client.post("/predict", json={"text": f" <b>{TEXTS[0]}</b>\n"}).json()
    assert one["run"] == "tiny" and one["answers"][0]["label"] == expected.predicted[0]
    assert one["answers"][0]["probability"] == pytest.approx(expected.probabilities[0].max(), abs=1e-6)


@hypothesis.settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(0, 128), min_size=1, max_size=10))
def test_no_other_cut_of_rows_ordered_by_length_costs_less(lengths: list[int]) -> None:
    def cost_of(parts: list[list[int]]) -> int:
        return sum(PASS_COST + len(part) * max(lengths[place] for place in part) for part in parts)

    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    inner = range(1, len(order))
    every = [
        cost_of([order[begin:end] for begin, end in pairwise((0, *cuts, len(order)))])
        for count in range(len(order))
        for cuts in combinations(inner, count)
    ]
    parts = parts_by_length(lengths)
    assert [place for part in parts for place in part] == order
    assert cost_of(parts) == min(every)


def test_a_batch_in_parts_is_answered_as_predict_answers_it(run: Path, served: ServedRun) -> None:
    short, long = TEXTS[:2] * 8, [f"MAX {'1 2 ' * 9} {digit} ]" for digit in range(4)]
    texts = [text for place, text in enumerate(short) for text in (text, *long[place : place + 1])]
    assert len(parts_by_length([len(row) for row in served.model.data.encode_texts(texts)])) > 1
    expected = TrainedModel.load(run).answer(texts).probabilities
    np.testing.assert_allclose([answer.probabilities for answer in served.answer(texts)], expected, atol=1e-6)


def test_bfloat16_answers_are_near(served: ServedRun) -> None:
    near = replace(served, bfloat16=True).answer(TEXTS)
    for answer, exact in zip(near, served.answer(TEXTS), strict=True):
        np.testing.assert_allclose(answer.probabilities, exact.probabilities, atol=0.02)
    assert near != served.answer(TEXTS)


def test_a_text_that_is_longer_than_the_run_reads_is_marked(client: TestClient) -> None:
    reply = client.post("/predict", json={"text": ["MAX 1 2 ]", f"MAX {'1 ' * 200} ]"]}).json()
    assert [answer["is_full"] for answer in reply["answers"]] == [False, True]


JSON = {"content-type": "application/json"}
BAD: list[tuple[str, bytes, dict[str, str], int, str]] = [
    ("empty text", b'{"text": ""}', JSON, 422, "text 1 is empty"),
    ("white space", b'{"text": ["MAX 1 2 ]", " \\n\\u2003"]}', JSON, 422, "text 2 is empty"),
    ("nothing left", b'{"text": "<br>\\u200b"}', JSON, 422, "text 1 is empty"),
    ("unknown words", '{"text": "quux 漢字"}'.encode(), JSON, 422, "text 1 has no word that the run knows"),
    ("long text", b'{"text": "' + 3_000 * b"a" + b'"}', JSON, 413, "3,000 characters"),
    ("large body", b'{"text": "' + 1_000_000 * b"a" + b'"}', JSON, 413, "at most 10,000 bytes"),
    (
        "many texts",
        b'{"text": ["' + b'", "'.join([b"MAX"] * 1_000) + b'"]}',
        JSON,
        413,
        "1,000 texts are more than the 8",
    ),
    ("no texts", b'{"text": []}', JSON, 422, "empty list"),
    ("no JSON", b"text=MAX", JSON, 400, "no JSON"),
    ("half of JSON", b'{"text": "MAX', JSON, 400, "no JSON"),
    ("nothing", b"", JSON, 400, "no JSON"),
    ("not UTF-8", b'{"text": "\xff\xfe"}', JSON, 400, "UTF-8"),
    ("half a character", b'{"text": "\\ud800"}', JSON, 400, "no JSON"),
    ("deep", 9_000 * b"[", JSON, 400, "no JSON"),
    ("NaN", b'{"text": NaN}', JSON, 422, "text"),
    ("a number", b'{"text": 7}', JSON, 422, "text"),
    ("a list of numbers", b'{"text": [1, 2]}', JSON, 422, "text"),
    ("null", b'{"text": null}', JSON, 422, "text"),
    ("a list", b"[]", JSON, 422, "the body"),
    ("a missing field", b"{}", JSON, 422, "text"),
    ("a foreign field", b'{"text": "MAX 1 ]", "<i>path</i>": "/etc/passwd"}', JSON, 422, "besides text and run"),
    ("an unknown run", b'{"text": "MAX 1 ]", "run": "othr"}', JSON, 422, "did you mean 'other'"),
    ("a path as run", b'{"text": "MAX 1 ]", "run": "../../etc"}', JSON, 422, "is not served"),
    ("a form", b"text=MAX", {"content-type": "application/x-www-form-urlencoded"}, 415, "application/json"),
    ("plain text", b'{"text": "MAX 1 ]"}', {"content-type": "text/plain"}, 415, "application/json"),
    ("a false length", b"", {**JSON, "content-length": "-5"}, 413, "bytes"),
]


@pytest.mark.parametrize(("body", "headers", "status", "reason"), [case[1:] for case in BAD], ids=[c[0] for c in BAD])
def test_bad_input_gets_one_clear_reason_and_the_service_goes_on(
    client: TestClient, body: bytes, headers: dict[str, str], status: int, reason: str
) -> None:
    response = client.post("/predict", content=body, headers=headers)
    assert response.status_code == status
    message = response.json()["error"]
    assert list(response.json()) == ["error"] and reason in message and "\n" not in message and len(message) < 400
    assert "Traceback" not in message and "<i>" not in message
    assert client.get("/health").json() == {"status": "ok"}


def test_a_body_of_unknown_length_is_cut_off_at_the_limit(client: TestClient) -> None:
    sent = []

    def pieces() -> Iterator[bytes]:
        for _ in range(1_000):
            sent.append(1)
            yield 1_000 * b" "

    response = client.post("/predict", content=pieces(), headers=JSON)
    assert response.status_code == 413 and "10,000 bytes" in response.json()["error"]


def test_other_paths_and_methods_are_refused(client: TestClient) -> None:
    methods = (("GET", "/predict"), ("POST", "/health"), ("OPTIONS", "/predict"), ("TRACE", "/"))
    for (method, path), status in {(("GET", "/nowhere"), 404), *((each, 405) for each in methods)}:
        response = client.request(method, path)
        assert response.status_code == status and response.json()["error"]


def test_a_foreign_host_is_refused(served: ServedRun) -> None:
    service = build_service([served], replace(OPTIONS, allowed_hosts=("models.example.org",)))
    with client_of(service) as client:
        for host in ("localhost", "LOCALHOST:99", "[::1]:8000", "127.0.0.1", "models.example.org"):
            assert client.get("/health", headers={"host": host}).status_code == 200, host
        for host in ("evil.example", "localhost.evil.example", "127.0.0.1@evil.example", "", "localhost:x", "[::1"):
            response = client.get("/health", headers={"host": host})
            assert response.status_code == 400 and "allowed_hosts" in response.json()["error"], host


def test_the_host_is_read_as_a_browser_writes_it() -> None:
    assert host_of("A.example:80") == "a.example" and host_of("[::1]:8") == "::1"
    assert host_of("localhost/x") == host_of("localhost?x") == host_of("a b@localhost") == ""


def test_everything_of_the_runs_needs_the_key(served: ServedRun) -> None:
    with client_of(build_service([served], OPTIONS, ApiKey.of(KEY))) as client:
        for method, path in (("POST", "/predict"), ("GET", "/info"), ("GET", "/metrics"), ("GET", "/nowhere")):
            for header in ({}, {"authorization": "Bearer wrong"}, {"authorization": KEY},
                           {"authorization": f"Basic {KEY}"}, {"authorization": f"Bearer {KEY}x"}):  # fmt: skip
                response = client.request(method, path, headers=header)
                assert response.status_code == 401 and response.headers["www-authenticate"] == "Bearer"
        for path in ("/", "/health", "/docs", "/openapi.json", "/page.js"):
            assert client.get(path).status_code == 200
        given = {"authorization": f"Bearer {KEY}"}
        assert client.post("/predict", json={"text": TEXTS}, headers=given).status_code == 200
        assert client.get("/info", headers=given).json()["runs"][0]["classes"] == [str(digit) for digit in range(10)]
        assert b"resnorm_texts_total" in client.get("/metrics", headers=given).content
        assert "key" in client.get("/openapi.json").json()["components"]["securitySchemes"]


def test_the_key_comes_from_the_environment_or_a_file_and_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    options = ServiceOptions(api_key_file=str(path))
    assert api_key(options, {}) == api_key(ServiceOptions(), {"RESNORM_API_KEY": KEY}) == ApiKey.of(KEY)
    assert KEY not in repr(ApiKey.of(KEY))
    for wrong in ("short", "with a space in it all", "ключ-из-многих-букв", ""):
        path.write_text(wrong)
        with pytest.raises(ExperimentError, match="at least 16"):
            api_key(options, {})
    with pytest.raises(ExperimentError, match="not by both"):
        api_key(options, {"RESNORM_API_KEY": KEY})
    path.write_bytes(b"\xff" * 20)
    with pytest.raises(ExperimentError, match="not text"):
        api_key(options, {})
    path.unlink()
    with pytest.raises(ExperimentError, match="cannot be read"):
        api_key(options, {})


def test_a_service_that_others_can_reach_needs_a_key_and_names() -> None:
    with pytest.raises(ExperimentError, match="needs an API key"):
        api_key(ServiceOptions(host="0.0.0.0"), {})
    with pytest.raises(ExperimentError, match="--allowed_hosts"):
        api_key(ServiceOptions(host="0.0.0.0"), {"RESNORM_API_KEY": KEY})
    assert api_key(ServiceOptions(host="0.0.0.0", allowed_hosts=("a.example",)), {"RESNORM_API_KEY": KEY})
    assert api_key(ServiceOptions(), {}) is None


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"port": 70_000}, "65,535"),
        ({"workers": 0}, "at least 1"),
        ({"seconds": float("nan")}, "finite"),
        ({"device": "cudda"}, "'cuda'"),
        ({"precision": "bfloat"}, "'bfloat16'"),
        ({"most_texts": 5_000}, "raise most_waiting to 5000"),
        ({"allowed_hosts": ("*",)}, "wildcard"),
        ({"allowed_hosts": ("a.example:80",)}, "without port"),
    ],
)
def test_a_wrong_option_is_refused_at_once(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ServiceOptions(**wrong)


def test_every_answer_forbids_what_a_page_does_not_need(client: TestClient) -> None:
    for response in (client.get("/"), client.get("/health"), client.post("/predict", content=b"x"), client.get("/no")):
        assert response.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in response.headers and "server" not in response.headers


def test_the_page_has_no_script_of_another_host_and_makes_no_html_from_texts(client: TestClient) -> None:
    for path, kind in (("/", "text/html"), ("/docs", "text/html"), ("/page.js", "text/javascript"),
                       ("/docs.js", "text/javascript"), ("/page.css", "text/css")):  # fmt: skip
        response = client.get(path)
        assert response.status_code == 200 and response.headers["content-type"].startswith(kind)
        assert "http://" not in response.text and "https://" not in response.text
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(| on\w+=|style=", response.text)
    assert not re.search(r"<script(?![^>]*\bsrc=)", (PAGE / "index.html").read_text())


def test_the_interface_describes_limits_and_runs(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) == {"/predict", "/health", "/info", "/metrics"}
    question = described["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    one, many = question["properties"]["text"]["anyOf"]
    assert (one["maxLength"], many["maxItems"]) == (2_000, 8)
    assert question["properties"]["run"]["anyOf"][0]["enum"] == ["tiny", "other"]


def test_info_names_what_was_built_and_no_path(client: TestClient, run: Path) -> None:
    response = client.get("/info")
    first = response.json()["runs"][0]
    assert (first["variant"], first["layers"], first["width"], first["norms"], first["skips"]) == (
        "pre_ln",
        1,
        16,
        3,
        2,
    )
    assert response.json()["limits"]["most_texts"] == 8
    assert str(run.parent) not in response.text and "/" not in first["name"]


def test_a_failure_is_logged_without_its_texts_and_the_service_goes_on(
    spoilt: ServedRun, caplog: pytest.LogCaptureFixture
) -> None:
    with client_of(build_service([spoilt], OPTIONS)) as client, caplog.at_level(logging.INFO, "resnorm.service"):
        response = client.post("/predict", json={"text": "secret failure"})
        assert response.status_code == 500 and response.json() == {
            "error": "the service failed on this request; its log says where"
        }
        assert client.post("/predict", json={"text": ["fine", "words"]}).status_code == 200
    lines = [json.loads(JsonLines().format(record)) for record in caplog.records]
    assert "secret" not in json.dumps(lines)
    failed = next(line for line in lines if "exception" in line)
    assert failed["exception"] == "RuntimeError" and any("test_service.py" in place for place in failed["where"])
    answered = lines[-1]
    assert (answered["event"], answered["path"], answered["status"], answered["texts"]) == (
        "request",
        "/predict",
        200,
        2,
    )


def test_a_run_whose_numbers_overflow_says_so(served: ServedRun, run: Path) -> None:
    import torch

    module = TrainedModel.load(run).module
    with torch.no_grad():
        module.network.head.linear.weight.fill_(float("inf"))
    broken = replace(served, name="broken", model=replace(served.model, module=module))
    with client_of(build_service([broken, served], OPTIONS)) as client:
        response = client.post("/predict", json={"text": TEXTS})
        assert response.status_code == 500 and "its numbers are not finite" in response.json()["error"]
        assert client.post("/predict", json={"text": TEXTS, "run": "tiny"}).status_code == 200


def test_a_request_past_the_time_limit_is_told_so_and_health_notices_a_batch_that_hangs(spoilt: ServedRun) -> None:
    with client_of(build_service([spoilt], replace(OPTIONS, seconds=0.1))) as client:
        response = client.post("/predict", json={"text": "slow"})
        assert response.status_code == 503 and "0.1 seconds" in response.json()["error"]
        assert response.headers["retry-after"] == "1"
        assert client.get("/health").status_code == 503
        time.sleep(0.3)
        assert client.get("/health").status_code == 200


def test_more_than_may_wait_gets_429_and_the_rest_is_answered(spoilt: ServedRun) -> None:
    options = replace(OPTIONS, most_waiting=8, most_texts=4, most_together=4)
    with client_of(build_service([spoilt], options)) as client, ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(client.post, "/predict", json={"text": ["slow"] * 4}) for _ in range(12)]
        statuses = [response.result().status_code for response in asked]
    assert set(statuses) == {200, 429} and statuses.count(200) >= 2


def test_requests_that_come_together_are_one_batch_and_metrics_count_them(spoilt: ServedRun) -> None:
    with client_of(build_service([spoilt], OPTIONS)) as client, ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(client.post, "/predict", json={"text": "slow"}) for _ in range(16)]
        assert {response.result().status_code for response in asked} == {200}
        families = {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}
    samples = {(sample.name, sample.labels.get("status")): sample.value
               for family in families.values() for sample in family.samples if "le" not in sample.labels}  # fmt: skip
    assert samples["resnorm_texts_total", None] == 16
    assert samples["resnorm_requests_total", "200"] == 16
    assert samples["resnorm_batch_texts_sum", None] == 16 and samples["resnorm_batch_texts_count", None] <= 4


@pytest.fixture
def started(spoilt: ServedRun) -> Iterator[tuple[str, int, Callable[[], None]]]:
    """A real server over a real port in a thread, and what asks it to stop, as a signal does."""
    import uvicorn

    options = replace(OPTIONS, port=0, most_together=4, seconds=2.0)
    with bound(options) as listener:
        server = uvicorn.Server(settings(build_service([spoilt], options), options, None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        host, port = listener.getsockname()[:2]
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield host, port, lambda: setattr(server, "should_exit", True)
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def ask_raw(host: str, port: int, sent: threading.Barrier) -> bytes:
    """Send a whole question, wait until all others have too, and read the answer."""
    body = json.dumps({"text": "slow"}).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, port), timeout=20) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        sent.wait()
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
        return answer


def test_a_shutdown_under_load_answers_every_request_that_was_taken(
    started: tuple[str, int, Callable[[], None]],
) -> None:
    host, port, stop = started
    barrier = threading.Barrier(13)
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(ask_raw, host, port, barrier) for _ in range(12)]
        barrier.wait()
        time.sleep(0.15)  # the server has read what was sent, and the first batch is under way
        stop()
        answers = [answer.result() for answer in asked]
    assert [answer.split(b"\r\n", 1)[0] for answer in answers] == [b"HTTP/1.1 200 OK"] * 12
    assert all(b'"label"' in answer for answer in answers)
    with pytest.raises(OSError):
        socket.create_connection((host, port), timeout=1).close()


def test_a_client_that_never_ends_its_body_is_told_to_go(started: tuple[str, int, Callable[[], None]]) -> None:
    host, port, _ = started
    with socket.create_connection((host, port), timeout=20) as connection:
        head = (
            f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
        )
        connection.sendall(head.encode() + b'{"text"')
        assert connection.recv(65_536).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_a_damaged_run_is_one_line_and_nothing_is_unpickled(
    run: Path, tmp_path: Path, share: float, fails_with_one_line: Callable[..., str]
) -> None:
    import pickle
    import shutil

    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    (copy / "run.json").unlink()  # which would name another digest
    content = (copy / "best.ckpt").read_bytes()
    (copy / "best.ckpt").write_bytes(content[: int(share * len(content))])
    assert "damaged" in fails_with_one_line(serve.main, copy, "--port", 0)

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path(tmp_path / "exploded").touch, ())

    (copy / "best.ckpt").write_bytes(pickle.dumps(Bomb()))
    assert "damaged" in fails_with_one_line(serve.main, copy, "--port", 0)
    assert not (tmp_path / "exploded").exists()


def test_a_mistake_on_the_command_line_is_one_line(
    run: Path, tmp_path: Path, fails_with_one_line: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "is in use" in fails_with_one_line(serve.main, run, "--port", taken.getsockname()[1])
    assert "named twice" in fails_with_one_line(serve.main, run, run)
    assert "one to 4" in fails_with_one_line(serve.main, *[run] * 5)
    assert "does not exist" in fails_with_one_line(serve.main, tmp_path / "absent")
    assert "needs an API key" in fails_with_one_line(serve.main, run, "--host", "0.0.0.0")
    assert "--workers" in fails_with_one_line(serve.main, run, "--worker", 2)
    monkeypatch.setenv("RESNORM_API_KEY", KEY)
    away = ("--host", "no such name", "--allowed_hosts", "[a.example]")
    assert "no address" in fails_with_one_line(serve.main, run, *away)


@pytest.mark.parametrize(("task", "asked"), [("causal_lm", "--prompt"), ("masked_lm", "--text")])
def test_a_language_model_is_refused_before_anything_is_loaded(
    task: str, asked: str, run: Path, tmp_path: Path, fails_with_one_line: Callable[..., str]
) -> None:
    config = (run / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(f"{re.sub(r'^task:.*$', '', config, flags=re.MULTILINE)}\ntask: {task}\n")
    message = fails_with_one_line(serve.main, run, tmp_path, "--port", 0)
    assert f"is a language model ({task})" in message and f"experiments.predict {tmp_path} {asked}" in message


def test_many_clients_each_get_their_own_answer(served: ServedRun) -> None:
    texts = [
        f"{kind} {first} {second} ]" for kind in ("MAX", "MIN", "MED", "SM") for first in (1, 5, 9) for second in (2, 7)
    ]
    expected = [answer.probabilities for answer in served.answer(texts)]
    with client_of(build_service([served], OPTIONS)) as client, ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda text: client.post("/predict", json={"text": text}).json(), texts))
    found = [list(reply["answers"][0]["probabilities"].values()) for reply in replies]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_no_thread_outlives_the_service(served: ServedRun) -> None:
    before = set(threading.enumerate())
    with client_of(build_service([served], OPTIONS)) as client:
        client.post("/predict", json={"text": TEXTS})
        assert [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("model")]
    assert not set(threading.enumerate()) - before


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(TEXTS),
    lambda inner: st.lists(inner, max_size=10) | st.dictionaries(st.sampled_from(["text", "run", "x"]), inner),
    max_leaves=12,
)


@hypothesis.settings(max_examples=50)
@given(body=st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_whatever_is_sent_gets_an_answer_or_a_reason(client: TestClient, body: bytes) -> None:
    response = client.post("/predict", content=body, headers=JSON)
    assert response.status_code in (200, 400, 413, 422)
    assert ("answers" if response.status_code == 200 else "error") in response.json()


@hypothesis.settings(max_examples=40)
@given(text=st.text(max_size=200) | st.sampled_from(TEXTS), run=st.sampled_from(["tiny", "other", None]))
def test_every_text_gets_probabilities_or_a_reason(client: TestClient, text: str, run: str | None) -> None:
    response = client.post("/predict", json={"text": text, "run": run})
    if response.status_code == 200:
        (answer,) = response.json()["answers"]
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    else:
        assert response.status_code in (400, 422) and response.json()["error"]
