"""What attackers send to a server, and what all others get meanwhile.

The server runs in a thread of the test. What it would do after seconds it does here never, so that
nothing depends on how fast the machine is.
"""

import asyncio
import collections
import contextlib
import socket
import threading

import grpc
import numpy as np
import pytest
from coda_keras_export.api import arrays, serving_pb2
from coda_keras_export.api.connection import PREDICT
from coda_keras_export.server import embedded, limits
from coda_keras_export.server import pool as pool_module
from coda_keras_export.server.catalogue import Catalogue
from coda_keras_export.server.limits import Limits
from coda_keras_export.server.metrics import Metrics
from coda_keras_export.server.pool import Pool
from serving import LIMIT, eventually, refusal, status

CODE = grpc.StatusCode
SIZE = 4


@pytest.fixture(scope="module")
def catalogue(small_servable):
    catalogue = Catalogue(small_servable.parents[1])
    catalogue.refresh()
    catalogue.wait()
    return catalogue


@pytest.fixture(scope="module")
def loop():
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


@pytest.fixture
def serving(catalogue, loop):
    """Starts servers with other limits; gives their addresses."""

    def run(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(LIMIT)

    servers = []

    def start(bounds=limits.DEFAULTS, most=128):
        async def listen():
            pool = Pool(2, most, 2**20)
            server, port = embedded.bind(catalogue, "127.0.0.1:0", pool, bounds)
            await server.start()
            return server, port

        server, port = run(listen())
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        run(server.stop(0))


@contextlib.contextmanager
def connected(address):
    """A connection that no other channel shares."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 1000)]
    with grpc.insecure_channel(address, options) as channel:
        yield channel


def request():
    made = serving_pb2.PredictRequest()
    made.model_spec.name, made.model_spec.signature_name = "tiny", "classify"
    arrays.fill(made.inputs["images"], np.full((1, SIZE, SIZE, 3), 0.5, "float32"))
    return made.SerializeToString()


def predict(channel, **options):
    answer = channel.unary_unary(PREDICT)(request(), timeout=LIMIT, **options)
    return serving_pb2.PredictResponse.FromString(answer)


def is_answered(channel):
    """False where the server has not yet put away what has ended."""
    try:
        return bool(predict(channel).outputs)
    except grpc.RpcError as error:
        assert error.code() == CODE.UNAVAILABLE
        return False


@contextlib.contextmanager
def silence(channel, calls):
    """Calls of which only the headers are sent."""
    over = threading.Event()

    def nothing():
        over.wait()
        yield b""

    begun = [channel.stream_unary(PREDICT).future(nothing()) for _ in range(calls)]
    try:
        yield begun
    finally:
        for call in begun:
            call.cancel()
        over.set()


def test_compressed_requests_are_refused_unless_they_are_asked_for(serving):
    with connected(serving()) as channel:
        code, details = refusal(predict, channel, compression=grpc.Compression.Gzip)
        assert (code, "'gzip' is disabled" in details) == (CODE.UNIMPLEMENTED, True)
        assert predict(channel).outputs
    with connected(serving(Limits(compressed=True))) as channel:
        assert predict(channel, compression=grpc.Compression.Gzip).outputs


def test_headers_without_messages_starve_nobody(serving, monkeypatch):
    # Calls without a message keep their places for ever.
    monkeypatch.setattr(pool_module, "_ARRIVAL_SECONDS", 3600)
    address = serving()
    attacking, asking = connected(address), connected(address)
    with attacking as attacker, asking as other, silence(attacker, 200) as begun:
        for _ in range(3):
            assert predict(other).outputs
            assert status(other, "tiny")
        assert not any(call.done() for call in begun)


def test_where_too_many_calls_are_silent_the_attackers_oldest_ends(serving, monkeypatch):
    monkeypatch.setattr(pool_module, "_SILENT", 20)
    address = serving()
    attacking, asking = connected(address), connected(address)
    with attacking as attacker, asking as other, silence(other, 1) as honest:
        assert predict(other).outputs
        with silence(attacker, 60) as begun:
            eventually(lambda: sum(call.done() for call in begun) == 41)
            ended = [call for call in begun if call.done()]
            assert {call.code() for call in ended} == {CODE.RESOURCE_EXHAUSTED}
            assert "has sent no message yet" in ended[0].details()
            assert predict(other).outputs
            assert not honest[0].done()


def test_calls_of_a_connection_are_bounded(serving):
    address = serving(Limits(calls=5))
    with connected(address) as attacker, connected(address) as other:
        assert predict(attacker).outputs
        with silence(attacker, 5) as begun:
            waiting = attacker.unary_unary(PREDICT).future(request(), timeout=LIMIT)
            for _ in range(3):
                assert predict(other).outputs
            assert not waiting.done()
            begun[0].cancel()
            eventually(waiting.done)
            eventually(lambda: is_answered(attacker))


def test_connections_are_bounded_and_those_that_are_there_stay(serving):
    address = serving(Limits(connections=4))
    host, port = address.split(":")
    with connected(address) as honest, contextlib.ExitStack() as stack:
        assert predict(honest).outputs
        idle = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(40)]
        eventually(lambda: sum(map(is_closed, idle)) >= 37)
        for _ in range(3):
            assert predict(honest).outputs
        for connection in idle:
            connection.close()
        with connected(address) as late:
            grpc.channel_ready_future(late).result(LIMIT)
            assert predict(late).outputs


def is_closed(connection):
    """Whether the other side has closed a connection on which it may have said something."""
    connection.setblocking(False)
    try:
        while connection.recv(1 << 16):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


@pytest.mark.parametrize(
    ("files", "expected"), [(256, 128), (200, 100), (1024, 896), (4096, 1000), (-1, 1000)]
)
def test_descriptors_are_kept_for_models(monkeypatch, files, expected):
    monkeypatch.setattr(limits.resource, "getrlimit", lambda _: (files, files))
    assert limits.connections() == expected
    assert limits.connections(50) == 50


def test_more_connections_than_descriptors_are_refused(monkeypatch):
    monkeypatch.setattr(limits.resource, "getrlimit", lambda _: (1024, 1024))
    with pytest.raises(ValueError, match=r"--max-connections 2000 .*ulimit -n 2128.*at most 896"):
        limits.connections(2000)


def test_requests_at_once_are_answered_or_told_to_come_again(serving, loop):
    address, held = serving(Limits(calls=10**6), most=3), threading.Event()
    with connected(address) as channel:
        predict(channel)
        # All of them are there before any is looked at.
        loop.call_soon_threadsafe(held.wait)
        ask, message = channel.unary_unary(PREDICT), request()
        futures = [ask.future(message, timeout=LIMIT) for _ in range(1500)]
        threading.Timer(1, held.set).start()
        codes = collections.Counter(future.code() for future in futures)
    assert codes.keys() <= {CODE.OK, CODE.RESOURCE_EXHAUSTED}
    assert codes[CODE.OK] >= 3


def test_half_requests_for_metrics_take_no_threads_and_keep_nobody_out(loop):
    metrics = Metrics()
    serving = asyncio.run_coroutine_threadsafe(metrics.serve("127.0.0.1", 0), loop)
    address = "127.0.0.1", serving.result(LIMIT)
    before = threading.active_count()
    with contextlib.ExitStack() as stack:
        half = []
        for _ in range(100):
            half.append(stack.enter_context(socket.create_connection(address)))
            half[-1].sendall(b"GET /metr")
        eventually(lambda: sum(map(is_closed, half)) >= 84)
        assert threading.active_count() <= before + 1
        assert b"200 OK" in asked(address, b"GET /metrics HTTP/1.1\r\n\r\n")
    assert b" 405 " in asked(address, b"POST /metrics HTTP/1.1\r\n\r\n")
    assert asked(address, b"x" * 10**6) == b""


def asked(address, text):
    with socket.create_connection(address, LIMIT) as connection:
        answer = b""
        with contextlib.suppress(ConnectionError):
            connection.sendall(text)
            while part := connection.recv(1 << 16):
                answer += part
        return answer
