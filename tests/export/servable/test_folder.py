"""The folder of servables, and the files of the stock server in it."""

import http.server
import re
import subprocess
import threading

import pytest
from coda_keras_export.package import package
from coda_keras_export.servable import folder, version_policies
from google.protobuf import text_format
from processes import LIMIT
from servables import HEIGHT, WIDTH, served
from tensorflow_serving.config import model_server_config_pb2

pytestmark = pytest.mark.tensorflow


def test_files_for_the_stock_server(tmp_path):
    for version in ("one/1", "two/3", "two/12", "no_version/.tmp-1", "none"):
        (tmp_path / version).mkdir(parents=True)
    (tmp_path / "compose.yaml").write_text("mine")
    folder.write_server_files(tmp_path)
    config = text_format.Parse(
        (tmp_path / "models.config").read_text(), model_server_config_pb2.ModelServerConfig()
    )
    models = config.model_config_list.config
    assert [(m.name, m.base_path) for m in models] == [
        ("one", "/models/one"),
        ("two", "/models/two"),
    ]
    assert [m.model_version_policy.latest.num_versions for m in models] == [2, 2]
    assert (tmp_path / "compose.yaml").read_text() == "mine"
    batching = (tmp_path / "batching_parameters.txt").read_text()
    largest = re.search(r"max_batch_size \{ value: (\d+) \}", batching)[1]
    assert re.findall(r"allowed_batch_sizes: (\d+)", batching)[-1] == largest
    compose = (folder.DEPLOY / "compose.yaml").read_text()
    for name in re.findall(r"/models/([\w.]+)\n", compose):
        assert (tmp_path / name).is_file()


class Metrics(http.server.BaseHTTPRequestHandler):
    """Answers at the path where a stock server has its metrics."""

    def do_GET(self):
        self.send_response(200 if self.path == "/monitoring/prometheus/metrics" else 404)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_the_container_is_of_a_version_and_healthy_once_it_answers():
    yaml = pytest.importorskip("yaml")
    services = yaml.safe_load((folder.DEPLOY / "compose.yaml").read_text())["services"]
    checks = {name: service["healthcheck"]["test"] for name, service in services.items()}
    for service in services.values():
        assert re.fullmatch(
            r"tensorflow/serving:\$\{TF_SERVING_TAG:-\d+\.\d+\.\d+\}", service["image"]
        )
    (kind, *command), same = checks["serving"], checks["unbatched"]
    assert kind == "CMD" and same == checks["serving"]

    def healthy(port, path="/metrics"):
        # As compose leaves it: it has no variable in it.
        line = command[-1].replace("/8501", f"/{port}").replace("/metrics", path)
        done = subprocess.run([*command[:-1], line], capture_output=True, timeout=LIMIT)
        return done.returncode == 0

    assert "$" not in command[-1]
    with http.server.HTTPServer(("127.0.0.1", 0), Metrics) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        assert healthy(port)
        assert not healthy(port, "/elsewhere")
        server.shutdown()
    assert not healthy(port)


def test_version_policies_that_were_edited_stay(tmp_path):
    for version in ("one/1", "two/1", "three/1"):
        (tmp_path / version).mkdir(parents=True)
    folder.write_server_files(tmp_path)
    config = tmp_path / "models.config"
    text = config.read_text()
    for edited in ("all { }", "specific { versions: 7 }"):
        text = re.sub(r"latest \{[^}]*\}", edited, text, count=1)
    config.write_text(text)
    (tmp_path / "four" / "1").mkdir(parents=True)
    folder.write_server_files(tmp_path)
    listed = text_format.Parse(config.read_text(), model_server_config_pb2.ModelServerConfig())
    policies = [
        text_format.MessageToString(model.model_version_policy, as_one_line=True)
        for model in listed.model_config_list.config
    ]
    latest = "latest { num_versions: 2 }"
    assert policies == [latest, "all { }", "specific { versions: 7 }", latest]
    assert served(tmp_path) == ["four", "one", "three", "two"]


def test_a_configuration_with_a_mistake_is_not_written_over(net, tmp_path):
    config = tmp_path / "models.config"
    config.write_text("model_config_list {\n  confg { }\n}\n")
    sentence = r"in .*models\.config\. Line 2:\d+ : .* no field named \"confg\"\. Correct it"
    with pytest.raises(ValueError, match=sentence):
        folder.write_server_files(tmp_path)
    with pytest.raises(ValueError, match=sentence):
        package(net, tmp_path, "tiny")
    assert config.read_text() == "model_config_list {\n  confg { }\n}\n"
    assert [item.name for item in tmp_path.iterdir()] == ["models.config"]


def test_a_stock_server_is_told_the_policies_of_the_flags(tmp_path):
    for version in ("one/1", "two/3"):
        (tmp_path / version).mkdir(parents=True)
    policies = version_policies.parse(["all", "two=specific:3,5"])
    text = folder.models_config(tmp_path, "/models", policies=policies)
    listed = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    one, two = listed.model_config_list.config
    assert one.model_version_policy.HasField("all")
    assert list(two.model_version_policy.specific.versions) == [3, 5]


def test_a_servable_says_how_it_is_batched(path, tmp_path):
    text = (path / "batching_params.pbtxt").read_text()
    assert f"max_batch_size {{ value: {2**20 // (HEIGHT * WIDTH)} }}" in text
    assert "max_execution_batch_size { value: 32 }" in text
    assert re.findall(r"allowed_batch_sizes: (\d+)", text) == ["1", "2", "4", "8", "16", "32"]
    assert "num_batch_threads" not in text
    for size, request, batch in (((1024, 100), 50, 8), ((2000, 3000), 50, 1), ((32, 32), 1024, 32)):
        text = folder.batching_params(*size, classes=50)
        assert f"max_batch_size {{ value: {request} }}" in text
        assert f"max_execution_batch_size {{ value: {batch} }}" in text
        # Servers refuse the file otherwise.
        assert re.findall(r"allowed_batch_sizes: (\d+)", text)[-1] == str(batch)
