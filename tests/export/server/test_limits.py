"""The embedded server under load and attack: what waits, what is refused, what goes on meanwhile.

One server for all tests, with mutual TLS, two threads and room for four requests. Files hold up
its requests and the loading of models for as long as a test wants.
"""

import shutil
import threading
import urllib.request

import grpc
import numpy as np
import pytest
import trustme
from coda_keras_export import client
from coda_keras_export.api import arrays, serving_pb2
from coda_keras_export.api.connection import METADATA, PREDICT, Client
from coda_keras_export.api.tls import client_credentials
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image
from serving import (
    AVAILABLE,
    LIMIT,
    LOADING,
    Server,
    eventually,
    publish,
    refusal,
    status,
)

pytestmark = pytest.mark.tensorflow

SIZE, CLASSES = 4, 3
CODE = grpc.StatusCode
SERVING, NOT_SERVING = 1, 2
PREDICTED = serving_pb2.PredictResponse.FromString

GATED = """
import threading, time
from pathlib import Path
from coda_keras_export import serve
from coda_keras_export.servable.loading import Servable

gates = Path({gates!r})
predict, warm_up = Servable.predict, Servable.warm_up

def wait(gate):
    while (gates / gate).exists():
        time.sleep(0.01)

def gated_predict(self, signature, inputs, *rest):
    if threading.current_thread().name.startswith("request") and "images" in inputs:
        value = memoryview(inputs["images"].tensor_content).cast("f")[0]
        (gates / f"begun-{{round(100 * value)}}").touch()
        wait("requests")
    return predict(self, signature, inputs, *rest)

def gated_warm_up(self):
    wait("load-" + self.path.parent.name)
    return warm_up(self)

Servable.predict, Servable.warm_up = gated_predict, gated_warm_up
serve.main()
"""


@pytest.fixture(scope="module")
def gates(tmp_path_factory):
    return tmp_path_factory.mktemp("gates")


@pytest.fixture(scope="module")
def models(small_servable, tmp_path_factory):
    folder = tmp_path_factory.mktemp("servables")
    for place in ("tiny/1", "tiny/2", "slow/1"):
        shutil.copytree(small_servable, folder / place)
    return folder


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """PEM files by name: an authority, and keys and certificates of a server and a client."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    names = {name: folder / name for name in ("ca", "key", "certificate", "own_key", "own")}
    authority.cert_pem.write_to_path(names["ca"])
    for identity, key, chain in (("127.0.0.1", "key", "certificate"), ("me", "own_key", "own")):
        issued = authority.issue_cert(identity)
        issued.private_key_pem.write_to_path(names[key])
        for number, pem in enumerate(issued.cert_chain_pems):
            pem.write_to_path(names[chain], append=number > 0)
    return names


@pytest.fixture(scope="module")
def starting(models, gates, tls, tmp_path_factory):
    """A server that still loads the model `slow`."""
    (gates / "load-slow").touch()
    script = tmp_path_factory.mktemp("script") / "gated.py"
    script.write_text(GATED.format(gates=str(gates)))
    server = Server(
        models,
        *("--poll", "0.2", "--threads", "2", "--max-concurrent-requests", "4"),
        *("--load-threads", "2", "--metrics-port", "0"),
        *("--tls-key", tls["key"], "--tls-certificate", tls["certificate"]),
        *("--tls-client-ca", tls["ca"], "--embedded"),
        script=script,
        wait=False,
    )
    yield server
    for gate in gates.iterdir():
        gate.unlink()
    assert server.end() == 0
    assert not any("Traceback" in line for line in server.errors)


@pytest.fixture(scope="module")
def credentials(tls):
    return client_credentials(tls["ca"], tls["own_key"], tls["own"])


@pytest.fixture(scope="module")
def channel(starting, credentials):
    with grpc.secure_channel(starting.listening(), credentials) as channel:
        yield channel


@pytest.fixture
def server(starting, channel, gates):
    """The server with all that it has loaded."""
    (gates / "load-slow").unlink(missing_ok=True)
    if starting.line is None:
        starting.wait()
    return starting


def request(value=0, name="tiny", version=None):
    """A request by whose images the gate tells it from others."""
    made = serving_pb2.PredictRequest()
    made.model_spec.name, made.model_spec.signature_name = name, "classify"
    if version is not None:
        made.model_spec.version.value = version
    arrays.fill(made.inputs["images"], np.full((1, SIZE, SIZE, 3), value / 100, "float32"))
    return made


def predict(channel, *arguments, timeout=LIMIT, **spec):
    call = channel.unary_unary(PREDICT, serving_pb2.PredictRequest.SerializeToString, PREDICTED)
    return call(request(*arguments, **spec), timeout=timeout)


def begin(channel, value, timeout=LIMIT):
    call = channel.unary_unary(PREDICT, serving_pb2.PredictRequest.SerializeToString, PREDICTED)
    return call.future(request(value), timeout=timeout)


def health(channel, name=""):
    stub = health_pb2_grpc.HealthStub(channel)
    return stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=LIMIT).status


def test_what_is_ready_is_served_while_the_rest_loads(starting, channel, models, gates):
    eventually(lambda: status(channel, "tiny").get(2) and health(channel, "tiny") == SERVING)
    assert predict(channel).model_spec.name == "tiny"
    assert {v: s.state for v, s in status(channel, "slow").items()} == {1: LOADING}
    for version in (None, 1):
        code, details = refusal(predict, channel, name="slow", version=version)
        assert (code, "still loading" in details) == (CODE.UNAVAILABLE, True)
    assert refusal(predict, channel, name="slow", version=2)[0] == CODE.NOT_FOUND
    assert health(channel) == health(channel, "slow") == NOT_SERVING
    assert refusal(health, channel, "lion")[0] == CODE.NOT_FOUND
    assert starting.line is None
    # New models are found meanwhile.
    (models / "early").mkdir()
    publish(models / "tiny" / "1", models / "early" / "1")
    eventually(lambda: _healthy(channel, "early"))
    assert starting.process.poll() is None
    assert health(channel) == NOT_SERVING
    (gates / "load-slow").unlink()
    starting.wait()
    assert starting.line.startswith("serving ")
    assert predict(channel, name="slow").model_spec.version.value == 1
    eventually(lambda: health(channel) == health(channel, "slow") == SERVING)


def test_calls_that_send_nothing_block_nobody(server, channel):
    over = threading.Event()

    def silence():
        over.wait()
        yield b""

    silent = [channel.stream_unary(PREDICT).future(silence()) for _ in range(40)]
    try:
        for _ in range(3):
            assert predict(channel).model_spec.version.value == 2
            assert status(channel, "tiny")
        assert not any(call.done() for call in silent)
    finally:
        for call in silent:
            call.cancel()
        over.set()


def test_too_many_requests_are_refused_and_those_that_go_cost_nothing(server, channel, gates):
    (gates / "requests").touch()
    running = [begin(channel, 1), begin(channel, 2)]
    eventually(lambda: (gates / "begun-1").exists() and (gates / "begun-2").exists())
    waiting = [begin(channel, value) for value in (3, 4, 5)]
    eventually(lambda: any(call.done() for call in waiting))
    (refused,) = [call for call in waiting if call.done()]
    assert refused.code() == CODE.RESOURCE_EXHAUSTED
    assert "at most 4" in refused.details()
    # States are answered all the same.
    assert status(channel, "tiny")[2].state == AVAILABLE
    assert health(channel) == SERVING
    get = channel.unary_unary(METADATA, serving_pb2.GetModelMetadataRequest.SerializeToString)
    asked = serving_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    asked.model_spec.name = "tiny"
    assert b"classify" in get(asked, timeout=LIMIT)
    # One gives up and makes room; another's time is over.
    values = dict(zip(waiting, (3, 4, 5)))
    waiting.remove(refused)
    gone, staying = waiting
    gone.cancel()
    attempts = []

    def expired():
        attempts.append(begin(channel, 6, timeout=0.5))
        return attempts[-1].code() == CODE.DEADLINE_EXCEEDED

    eventually(expired)

    def accepted():
        attempts.append(begin(channel, 7))
        # A refusal would have come before these answers.
        for _ in range(5):
            status(channel, "tiny")
        return not attempts[-1].done()

    eventually(accepted)
    (gates / "requests").unlink()
    for call in (*running, staying, attempts[-1]):
        assert call.result().model_spec.name == "tiny"
    begun = {int(path.name.removeprefix("begun-")) for path in gates.glob("begun-*")}
    assert begun & {1, 2, 3, 4, 5, 6, 7} == {1, 2, values[staying], 7}


def test_a_version_that_loads_takes_nothing_away(server, channel, models, gates):
    (gates / "load-tiny").touch()
    publish(models / "tiny" / "2", models / "tiny" / "3")
    eventually(lambda: 3 in status(channel, "tiny"))
    states = {version: state.state for version, state in status(channel, "tiny").items()}
    assert states == {1: AVAILABLE, 2: AVAILABLE, 3: LOADING}
    assert predict(channel).model_spec.version.value == 2
    assert health(channel, "tiny") == SERVING
    (gates / "load-tiny").unlink()
    # The latest two are served, unless told otherwise.
    eventually(lambda: set(status(channel, "tiny")) == {2, 3})
    assert predict(channel).model_spec.version.value == 3
    assert refusal(predict, channel, version=1)[0] == CODE.NOT_FOUND


def test_a_message_that_is_none_is_refused(server, channel):
    call = channel.unary_unary(PREDICT)
    code, details = refusal(call, b"\xff\xff no message", timeout=LIMIT)
    assert (code, "PredictRequest" in details) == (CODE.INVALID_ARGUMENT, True)


def test_what_grpc_refuses_fills_no_log(server, channel):
    call = channel.unary_unary(PREDICT, serving_pb2.PredictRequest.SerializeToString, PREDICTED)
    for _ in range(3):
        code, _ = refusal(call, request(), timeout=LIMIT, compression=grpc.Compression.Gzip)
        assert code == CODE.UNIMPLEMENTED
    assert not any("disabled" in line for line in server.errors)


def test_models_that_go_are_not_healthy(server, channel, models):
    (models / "brief").mkdir()
    publish(models / "tiny" / "2", models / "brief" / "1")
    eventually(lambda: _healthy(channel, "brief"))
    (models / "brief" / "1").rename(models / "brief" / ".gone")
    eventually(lambda: not _healthy(channel, "brief"))


def _healthy(channel, name):
    try:
        return health(channel, name) == SERVING
    except grpc.RpcError:
        return False


def test_metrics_have_the_stock_servers_names(server, channel):
    for name in ("lion", "x" * 2**16):
        refusal(predict, channel, name=name)
    url = server.metrics()
    before, after = _scraped(url), None
    predict(channel)
    eventually(lambda: _scraped(url) != before)
    after = _scraped(url)
    ok = ':tensorflow:serving:request_count{model_name="tiny",status="OK"}'
    count = (
        ":tensorflow:serving:request_latency_count"
        '{API="Predict",entrypoint="GRPC",model_name="tiny"}'
    )
    for name in (ok, count):
        assert after[name] == before[name] + 1
    assert after[count.replace("_count{", "_sum{")] > before[count.replace("_count{", "_sum{")]
    assert after[ok.replace("tiny", "").replace("OK", "NOT_FOUND")] >= 2
    assert not any("lion" in name or "xxx" in name for name in after)
    assert any("load_attempt_count" in name and 'status="success"' in name for name in after)
    assert after["process_resident_memory_bytes"] > 2**20


def _scraped(url):
    with urllib.request.urlopen(url, timeout=LIMIT) as answer:
        lines = answer.read().decode().splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {name: float(value) for name, value in pairs if "cpu_seconds" not in name}


def test_mutual_tls(server, tls, credentials):
    with Client(server.address, "tiny", timeout=LIMIT, credentials=credentials) as connection:
        assert set(connection.status()) >= {2}
    own = (tls["own_key"], tls["own"])
    for refused in (
        None,
        client_credentials(tls["ca"]),
        client_credentials(None, *own),
    ):
        stranger = Client(server.address, "tiny", credentials=refused, timeout=5)
        with stranger as connection, pytest.raises(OSError, match=r"UNAVAILABLE|DEADLINE"):
            connection.status()


def test_client_command_over_tls(server, tls, tmp_path, capsys):
    Image.new("RGB", (SIZE, SIZE), (10, 20, 30)).save(tmp_path / "a.png")
    command = ["--server", server.address, "--model", "tiny", "--timeout", LIMIT]
    command += ["--out", tmp_path / "maps", "--tls-ca", tls["ca"], tmp_path / "a.png"]
    command += ["--tls-key", tls["own_key"], "--tls-certificate", tls["own"]]
    client.main([str(part) for part in command])
    assert "why" in capsys.readouterr().out
    assert (tmp_path / "maps" / "a.png").exists()
