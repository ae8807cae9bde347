"""The HTTP API: people as in Python, and every misuse an answer of its own."""

import asyncio
import json
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from dot_model import lay_out, paint, write_dot_model
from litepose.errors import SettingError
from litepose.predictor import load
from litepose.writers import PictureResult, write_results

pytest.importorskip("fastapi", reason="needs litepose[web]")
pytest.importorskip("httpx", reason="needs httpx")
from fastapi.testclient import TestClient

from litepose.web.app import create_app
from litepose.web.guard import Guard
from litepose.web.jobs import Jobs
from litepose.web.metrics import Metrics
from litepose.web.settings import ServeSettings

SIZE = (320, 240)
ONE, BATCH = "/v1/people", "/v1/people/batch"


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return load(write_dot_model(tmp_path_factory.mktemp("model") / "dots.onnx"), threads=1)


@pytest.fixture(scope="module")
def two():
    """Two people as the bytes of a PNG."""
    return cv2.imencode(".png", paint(lay_out(2, SIZE), SIZE))[1].tobytes()


def client(predictor, **settings):
    return TestClient(create_app({"dots": predictor}, ServeSettings(**settings)), raise_server_exceptions=False)


def post(server, data, kind="image/png", **more):
    return server.post(ONE, content=data, headers={"content-type": kind, **more.pop("headers", {})}, **more)


class Held:
    """A predictor that waits until it is let go."""

    def __init__(self, predictor):
        self.go = threading.Event()
        self.began = threading.Semaphore(0)
        self.calls = 0
        self._predictor = predictor

    def __getattr__(self, name):
        return getattr(self._predictor, name)

    def batch(self, pictures):
        self.calls += 1
        self.began.release()
        assert self.go.wait(20)
        return self._predictor.batch(pictures)


def test_a_picture_gives_what_the_json_writer_writes_in_python(predictor, two, tmp_path):
    answer = post(client(predictor), two)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    poses = predictor(two)
    write_results(
        tmp_path / "a.json", [PictureResult("picture-1", SIZE, poses[poses.scores >= 0.2])],
        format="litepose", model="dots",
    )  # fmt: skip
    assert answer.json() == json.loads((tmp_path / "a.json").read_text())
    assert len(answer.json()["pictures"][0]["people"]) == 2


def test_several_pictures_come_back_in_order_under_their_names_without_folders(predictor, two):
    files = [("files", ("../../etc/b.png", two)), ("files", ("C:\\x\\a.png", two))]
    pictures = client(predictor).post(BATCH, files=files).json()["pictures"]
    assert [one["file"] for one in pictures] == ["b.png", "a.png"]
    assert [len(one["people"]) for one in pictures] == [2, 2]


def test_people_below_the_score_asked_for_are_left_out(predictor, two):
    assert post(client(predictor), two, params={"min_score": 1.0}).json()["pictures"][0]["people"] == []


def test_answers_fit_the_openapi_document(predictor, two):
    jsonschema = pytest.importorskip("jsonschema")
    server = client(predictor, token="secret-token")
    document = server.get("/openapi.json").json()
    assert document["paths"][ONE]["post"]["security"] == [{"token": []}]
    assert document["paths"]["/health"]["get"]["security"] == []
    answer = post(server, two, headers={"authorization": "Bearer secret-token"}).json()
    schema = {"$ref": "#/components/schemas/People", "components": document["components"]}
    jsonschema.validate(answer, schema)
    assert set(answer) == set(document["components"]["schemas"]["People"]["properties"])


@pytest.mark.parametrize("data, kind, status, words", [
    (b"hello", "text/plain", 415, "takes image/jpeg"),
    (b"hello", "application/x-www-form-urlencoded", 415, "takes image/jpeg"),
    (b"", "image/png", 422, "empty"),
    (b"hello", "image/png", 422, "no picture that can be read"),
    (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "image/png", 422, "picture-1: "),
])  # fmt: skip
def test_what_is_no_picture_is_refused_with_a_sentence(predictor, data, kind, status, words):
    answer = post(client(predictor), data, kind)
    assert answer.status_code == status
    assert words in answer.json()["error"] and list(answer.json()) == ["error"]


def test_a_picture_that_breaks_off_is_refused(predictor):
    photo = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))[1].tobytes()
    answer = post(client(predictor), photo[: len(photo) // 2], "image/jpeg")
    assert answer.status_code == 422 and "cut off" in answer.json()["error"]


def bomb(side):
    """Return a PNG of a few kB that declares side x side pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("batch", [False, True])
def test_a_decompression_bomb_is_refused_from_its_header(predictor, two, batch, monkeypatch):
    monkeypatch.setattr("litepose.images._decode", lambda *_: pytest.fail("decoded"))
    server = client(predictor)
    files = [("files", ("a.png", two)), ("files", ("bomb.png", bomb(60_000)))]
    answer = server.post(BATCH, files=files) if batch else post(server, bomb(60_000))
    assert answer.status_code == 413
    assert "60000x60000; this server reads up to 25 megapixels" in answer.json()["error"]


def test_a_request_for_too_many_pictures_is_refused(predictor, two):
    server = client(predictor, max_pictures=2)
    for count in (3, 5):
        answer = server.post(BATCH, files=[("files", (f"{i}.png", two)) for i in range(count)])
        assert answer.status_code == 422, count


@pytest.mark.parametrize("form", [{"data": {"files": "http://localhost/a.png"}}, {"files": [("other", ("a", b"x"))]}])
def test_a_form_without_files_is_refused_and_no_address_is_followed(predictor, form):
    answer = client(predictor).post(BATCH, **form)
    assert answer.status_code in (415, 422)


def test_a_broken_form_is_refused(predictor):
    kind = {"content-type": "multipart/form-data; boundary=x"}
    assert client(predictor).post(BATCH, content=b"--y\r\nnonsense", headers=kind).status_code in (400, 422)
    assert (
        client(predictor).post(BATCH, content=b"abc", headers={"content-type": "multipart/form-data"}).status_code
        == 400
    )


@pytest.mark.parametrize("settings, words", [
    ({"model": "dotz"}, "Did you mean 'dots'?"), ({"min_score": "2"}, "min_score: "),
    ({"min_score": "nan"}, "min_score: "),
])  # fmt: skip
def test_settings_without_meaning_are_refused(predictor, two, settings, words):
    answer = post(client(predictor), two, params=settings)
    assert answer.status_code == 422 and words in answer.json()["error"]


async def call_guard(settings, messages, headers):
    """Call the guard alone; return (status, how many messages of the body it read before it answered, and in all)."""
    read, sent, before = 0, [], []

    async def receive():
        nonlocal read
        read += 1
        return next(messages)

    async def send(message):
        sent.append(message)
        before.append(read)

    async def app(scope, receive, send):
        pytest.fail("reached the application")

    scope = {"type": "http", "method": "POST", "path": ONE, "headers": headers}
    jobs = Jobs(1, 1)
    await Guard(app, settings, jobs, Metrics())(scope, receive, send)
    assert jobs.taken == 0
    return sent[0]["status"], before[0], read


@pytest.mark.parametrize("declared", [True, False])
def test_a_hundred_megabytes_are_refused_without_being_read_and_then_passed_over(declared):
    piece = bytes(10**6)
    messages = iter([{"type": "http.request", "body": piece, "more_body": True}] * 1000)
    headers = [(b"content-type", b"image/jpeg")] + ([(b"content-length", b"100000000")] if declared else [])
    status, before, read = asyncio.run(call_guard(ServeSettings(max_upload_mb=5), messages, headers))
    assert status == 413
    assert before == (0 if declared else 6) and read - before == 201  # who sends without an end is cut off all the same


def test_a_body_that_does_not_come_is_given_up():
    async def slow():
        sent = []

        async def send(message):
            sent.append(message)

        jobs = Jobs(1, 0)
        scope = {"type": "http", "method": "POST", "path": ONE, "headers": [(b"content-type", b"image/png")]}
        await Guard(None, ServeSettings(timeout_s=0.05), jobs, Metrics())(scope, lambda: asyncio.sleep(10), send)
        return sent[0]["status"], jobs.taken

    assert asyncio.run(slow()) == (408, 0)


def test_beyond_the_places_requests_are_refused_at_once_and_the_others_answered(predictor, two):
    held = Held(predictor)
    with client(held, workers=1, queue=2) as server, ThreadPoolExecutor(12) as clients:
        first = clients.submit(post, server, two)
        assert held.began.acquire(timeout=10)
        others = [clients.submit(post, server, two) for _ in range(8)]
        deadline = time.monotonic() + 10
        while sum(one.done() for one in others) < 6 and time.monotonic() < deadline:
            time.sleep(0.01)
        refused = [one.result() for one in others if one.done()]
        assert [one.status_code for one in refused] == [429] * 6
        assert {one.headers["retry-after"] for one in refused} == {"1"}
        assert server.get("/health").json() | {"version": ""} == {
            "status": "ok", "version": "", "waiting": 3, "places": 3,
        }  # fmt: skip
        held.go.set()
        answered = [first.result(), *(one.result() for one in others)]
        assert sorted(one.status_code for one in answered) == [200] * 3 + [429] * 6
        assert server.get("/health").json()["waiting"] == 0
        assert post(server, two).status_code == 200


def test_fifty_clients_at_once_get_the_same_right_answer(predictor, two):
    with client(predictor, workers=2, queue=50) as server, ThreadPoolExecutor(50) as clients:
        expected = post(server, two).json()
        answers = list(clients.map(lambda _: post(server, two), range(50)))
    assert [one.status_code for one in answers] == [200] * 50
    assert all(one.json() == expected for one in answers)


def test_an_answer_that_takes_too_long_is_given_up_and_its_place_stays_taken_until_the_work_ends(predictor, two):
    held = Held(predictor)
    with client(held, workers=1, queue=1, timeout_s=0.3) as server:
        answer = post(server, two)
        assert answer.status_code == 503 and "0.3 s" in answer.json()["error"]
        assert server.get("/health").json()["waiting"] == 1
        assert post(server, two).status_code == 503  # waited in vain, never began
        assert server.get("/health").json()["waiting"] == 1 and held.calls == 1
        held.go.set()
        deadline = time.monotonic() + 10
        while server.get("/health").json()["waiting"] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.get("/health").json()["waiting"] == 0


def test_a_token_is_needed_where_one_is_set(predictor, two):
    server = client(predictor, token="correct-horse")
    wrong = [{}, {"authorization": "Bearer wrong-horse"}, {"authorization": "Basic correct-horse"},
             {"authorization": "Bearer correct-horsé".encode("latin-1").decode("latin-1")}]  # fmt: skip
    for headers in wrong:
        encoded = {name: value.encode("latin-1") for name, value in headers.items()}
        answer = server.post(ONE, content=two, headers={"content-type": "image/png", **encoded})
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
        assert server.get("/metrics", headers=encoded).status_code == 401
    assert post(server, two, headers={"authorization": "bearer correct-horse"}).status_code == 200
    assert server.get("/health").status_code == 200


def test_metrics_count_requests_pictures_and_people(predictor, two):
    server = client(predictor)
    post(server, two)
    post(server, b"x")
    server.get("/no/such/path")
    text = server.get("/metrics").text
    assert 'litepose_requests_total{path="/v1/people",status="200"} 1' in text
    assert 'litepose_requests_total{path="/v1/people",status="422"} 1' in text
    assert 'litepose_requests_total{path="page",status="404"} 1' in text
    assert "litepose_pictures_total 1\n" in text and "litepose_people_total 2\n" in text
    assert "litepose_compute_seconds_count 1\n" in text and "litepose_places 17\n" in text


def test_the_models_are_listed(predictor):
    (model,) = client(predictor).get("/v1/models").json()
    assert model["name"] == "dots" and model["input_size"] == [256, 256] and not model["top_down"]
    assert model["keypoints"][0] == "nose"


def test_an_error_of_ours_tells_a_client_nothing_of_the_inside(predictor, two):
    class Broken(Held):
        def batch(self, pictures):
            raise RuntimeError("/secret/path")

    answer = post(client(Broken(predictor)), two)
    assert answer.status_code == 500 and "secret" not in answer.text and list(answer.json()) == ["error"]


def test_pages_are_served_in_a_context_of_their_own(predictor, tmp_path):
    (tmp_path / "index.html").write_text("<p>hello")
    server = TestClient(create_app({"dots": predictor}, site=tmp_path))
    answer = server.get("/")
    assert answer.text == "<p>hello"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["cross-origin-embedder-policy"] == "require-corp"
    assert server.get("/../pyproject.toml").status_code == 404


def test_pages_of_other_sites_are_refused(predictor, two):
    assert post(client(predictor), two, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert post(client(predictor), two, headers={"sec-fetch-site": "same-origin"}).status_code == 200


@pytest.mark.parametrize("path", [ONE, BATCH])
def test_other_methods_are_told_which_one_is_taken(predictor, path, tmp_path):
    server = TestClient(create_app({"dots": predictor}, site=tmp_path))
    for method in ("GET", "OPTIONS", "DELETE"):
        answer = server.request(method, path)
        assert answer.status_code == 405 and answer.headers["allow"] == "POST"


@pytest.mark.parametrize("settings, words", [
    ({"workers": 0}, "workers of at least 1"), ({"timeout_s": 0}, "positive timeout_s"),
    ({"max_upload_mb": float("nan")}, "positive max_upload_mb"), ({"token": "short"}, "at least 8"),
])  # fmt: skip
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(SettingError, match=words):
        ServeSettings(**settings)
