"""Endpoints: batches and retries where they are honest, a clear refusal and no key told where they are not."""

import contextlib
import gzip
import json
import math
import time

import pytest
from asi_evolve.database.search.embedders.openai import OpenAIEmbedder
from asi_evolve.evolution.errors import EmbedderUnavailable

from ...endpoint_server import drip, hang, raw
from .conftest import embeddings

pytestmark = pytest.mark.anyio

KEY = "sk-very-secret-0123456789"


@pytest.fixture
def embedder(endpoint):
    return OpenAIEmbedder(endpoint.url, "some-model", api_key=KEY, timeout_s=10.0)


async def refusal(embedder, texts=("text",)):
    """What the error says; the key is in no part of it."""
    with pytest.raises(EmbedderUnavailable) as refused:
        await embedder.encode_documents(texts)
    error = refused.value
    while error is not None:
        assert KEY not in str(error) + repr(error)
        error = error.__cause__
    assert "Expected the embeddings endpoint 127.0.0.1:" in str(refused.value)
    return str(refused.value)


async def test_vectors_come_in_the_order_of_the_texts_scaled_to_length_one(endpoint, embedder):
    endpoint.answers = [lambda request: embeddings(request, backwards=True)]
    vectors = await embedder.encode_documents(["a", "abc", "ab"])
    assert [round(vector[0] / vector[1]) for vector in vectors] == [1, 3, 2]
    assert all(math.hypot(*vector) == pytest.approx(1.0) for vector in vectors)
    assert endpoint.requests == [{"model": "some-model", "input": ["a", "abc", "ab"]}]
    assert endpoint.headers[0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("end", ["", "/", "/embeddings", "/embeddings/"])
async def test_the_address_may_be_that_of_the_api_or_of_its_embeddings(endpoint, end):
    await OpenAIEmbedder(endpoint.url + end, "m").prepare()
    assert endpoint.paths == ["/v1/embeddings"]
    assert "Authorization" not in endpoint.headers[0]


async def test_many_texts_go_in_batches_long_ones_are_cut_and_empty_ones_are_not_sent_empty(endpoint):
    embedder = OpenAIEmbedder(endpoint.url, "m", max_characters=100)
    vectors = await embedder.encode_documents(["", *["x" * 500] * 150])
    assert len(vectors) == 151
    assert [len(request["input"]) for request in endpoint.requests] == [64, 64, 23]
    assert {len(text) for request in endpoint.requests for text in request["input"]} == {1, 100}
    assert await embedder.encode_documents([]) == []


async def test_the_dimension_is_learned_by_asking_once_and_held_to(endpoint, embedder):
    for name in ("dimension", "fingerprint"):
        with pytest.raises(EmbedderUnavailable, match="prepare"):
            getattr(embedder, name)
    await embedder.prepare()
    await embedder.prepare()
    assert len(endpoint.requests) == 1
    assert embedder.dimension == 4
    assert embedder.fingerprint == f"openai/some-model@{endpoint.host}/4"
    endpoint.answers = [lambda request: embeddings(request, 5)]
    said = await refusal(embedder)
    assert "vectors of 4 numbers, but one of 5 came" in said
    assert embedder.dimension == 4


async def test_a_dimension_that_is_set_is_asked_for_and_another_is_refused(endpoint):
    embedder = OpenAIEmbedder(endpoint.url, "m", dimension=4)
    assert embedder.fingerprint.endswith("/4")
    await embedder.prepare()
    assert endpoint.requests[0]["dimensions"] == 4
    assert "of 3 numbers, but one of 4 came" in await refusal(OpenAIEmbedder(endpoint.url, "m", dimension=3))


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_what_may_pass_is_asked_again(endpoint, embedder, status):
    endpoint.answers = [(status, {}, b"busy"), (status, {}, b"busy"), embeddings]
    assert len(await embedder.encode_documents(["a"])) == 1
    assert len(endpoint.requests) == 3


async def test_a_connection_that_breaks_is_tried_again(endpoint, embedder):
    @raw
    def break_off(handler):
        handler.connection.close()

    endpoint.answers = [break_off, embeddings]
    assert len(await embedder.encode_documents(["a"])) == 1
    assert len(endpoint.requests) == 2


async def test_it_waits_as_long_as_it_is_asked_to(endpoint, embedder):
    endpoint.answers = [(429, {"Retry-After": "1"}, b""), embeddings]
    begin = time.monotonic()
    await embedder.encode_documents(["a"])
    assert time.monotonic() - begin >= 1.0


@pytest.mark.parametrize("after", ["3600", "9" * 400])
async def test_it_does_not_wait_longer_than_it_may(endpoint, embedder, after):
    endpoint.answers = [(429, {"Retry-After": after}, b"")]
    said = await refusal(embedder)
    assert "(status 429) and asks to wait" in said
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("after", ["soon", "-1", "Wed, 21 Oct 2026 07:28:00 GMT", "²", ""])
async def test_a_wait_that_is_no_number_is_left_to_us(endpoint, embedder, after):
    endpoint.answers = [(503, {"Retry-After": after.encode().decode("latin-1")}, b""), embeddings]
    assert len(await embedder.encode_documents(["a"])) == 1


async def test_attempts_are_bounded(endpoint, embedder):
    endpoint.answers = [(500, {}, b"")]
    assert "(status 500). That was attempt 5 of 5" in await refusal(embedder)
    assert len(endpoint.requests) == 5


async def test_nobody_listens(endpoint):
    said = await refusal(OpenAIEmbedder("http://127.0.0.1:9/v1", "m", api_key=KEY))
    assert "127.0.0.1:9 to answer, but it cannot be reached" in said


@pytest.mark.parametrize("answer", [hang, drip])
async def test_an_endpoint_that_hangs_is_given_up_in_time(endpoint, answer):
    endpoint.answers = [answer]
    said = await refusal(OpenAIEmbedder(endpoint.url, "m", api_key=KEY, timeout_s=0.5))
    assert "within 0.5 s, but it did not. Raise ASI_EVOLVE_EMBEDDER_TIMEOUT_S" in said


@raw
def a_gigabyte(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    piece = b"1.5," * 262_144
    with contextlib.suppress(OSError):  # when it is hung up on
        for _ in range(1024):
            handler.wfile.write(piece)
            handler.server.endpoint_sent += len(piece)


async def test_an_answer_of_a_gigabyte_is_hung_up_on(endpoint, embedder):
    endpoint.server.endpoint_sent = 0
    endpoint.answers = [a_gigabyte]
    assert "at most 64 MB, but it sends more" in await refusal(embedder)
    assert endpoint.server.endpoint_sent < 200 * 2**20
    assert len(endpoint.requests) == 1


async def test_an_answer_that_unpacks_to_a_gigabyte_is_refused(endpoint, embedder):
    endpoint.answers = [(200, {"Content-Encoding": "gzip"}, gzip.compress(b" " * 2**27))]
    assert "uncompressed" in await refusal(embedder)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed_since_the_key_would_go_with_it(endpoint, embedder, status):
    endpoint.answers = [(status, {"Location": f"https://evil.example/{KEY}"}, b"")]
    said = await refusal(embedder)
    assert "redirects to https://evil.example/[key]" in said
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_that_is_not_accepted_is_told_by_its_setting(endpoint, embedder, status):
    endpoint.answers = [(status, {}, {"error": f"Incorrect API key provided: {KEY}"})]
    assert "Check ASI_EVOLVE_EMBEDDER_API_KEY" in await refusal(embedder)
    assert len(endpoint.requests) == 1


async def test_what_an_endpoint_says_against_a_request_is_told_harmlessly(endpoint, embedder):
    body = f"model \x1b[31mnot found\u202e, you are {KEY[:9]}\u200b{KEY[9:]} " + "!" * 1000
    endpoint.answers = [(404, {}, body.encode())]
    said = await refusal(embedder)
    assert "status 404 came, which says: 'model [31mnot found, you are [key] !" in said
    assert len(said) < 400


def altered(**change):
    return lambda request: {"data": [embeddings(request)["data"][0] | change]}


def with_vector(text):
    return b'{"data": [{"index": 0, "embedding": ' + text.encode() + b"}]}"


LIES = {
    "html": (200, {"Content-Type": "text/html"}, b"<!DOCTYPE html><html><h1>Sign in</h1></html>"),
    "nothing": b"",
    "cut off": b'{"data": [{"index": 0, "embedding": [1.0, 2.',
    "no data": {"object": "list"},
    "null": b"null",
    "not unicode": b"\xff\xfe\x00",
    "nan": with_vector("[1.0, NaN, 1.0, 1.0]"),
    "infinity": with_vector("[1.0, Infinity, 1.0, 1.0]"),
    "minus infinity": with_vector("[1.0, -Infinity, 1.0, 1.0]"),
    "overflow": with_vector("[1.0, 1e999, 1.0, 1.0]"),
    "huge integer": with_vector("[1" + "0" * 5000 + ", 1.0, 1.0, 1.0]"),
    "strings": with_vector('["1.0", "2.0", "3.0", "4.0"]'),
    "booleans": with_vector("[true, false, true, true]"),
    "nulls": with_vector("[null, 1.0, 1.0, 1.0]"),
    "base64": with_vector('"AACAPwAAgD8="'),
    "nested": with_vector("[" * 100_000 + "]" * 100_000),
    "empty": with_vector("[]"),
    "zero": with_vector("[0, 0, 0, 0]"),
    "vanishing": with_vector("[1e-300, 0, 0, 0]"),
    "longest": with_vector("[1e308, 1e308, 1e308, 1e308]"),
    "too long": with_vector("[" + "1," * 40_000 + "1]"),
    "no vector": {"data": []},
    "two vectors": lambda request: embeddings({"model": "m", "input": ["a", "b"]}),
    "wrong index": altered(index=1),
    "negative index": altered(index=-1),
    "index in words": altered(index="0"),
    "no index": {"data": [{"embedding": [1.0, 1.0, 1.0, 1.0]}]},
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_is_refused_and_not_asked_again(endpoint, embedder, lie):
    endpoint.answers = [LIES[lie]]
    said = await refusal(embedder)
    assert len(said) < 800
    assert len(endpoint.requests) == 1
    endpoint.answers = [embeddings]
    assert len(await embedder.encode_documents(["a"])) == 1, "the next answer counts again"


async def test_one_bad_vector_among_good_ones_refuses_them_all(endpoint, embedder):
    def one_bad(request):
        answer = embeddings(request)
        answer["data"][1]["embedding"][2] = math.nan
        return json.dumps(answer).encode()

    endpoint.answers = [one_bad]
    assert "data.1.embedding.2: Input should be a finite number" in await refusal(embedder, ["a", "b", "c"])


async def test_html_is_told_as_such(endpoint, embedder):
    endpoint.answers = [LIES["html"]]
    assert "begins '<!DOCTYPE html>" in await refusal(embedder)


def test_the_address_is_told_without_what_may_be_secret_in_it():
    embedder = OpenAIEmbedder("https://user:pass@example.org/v1?key=1", "m", dimension=3)
    assert embedder.source == "https://example.org/v1/embeddings"
    assert embedder.fingerprint == "openai/m@example.org/3"
