"""`coda-keras import`: a published name, a file, the way back, and what is refused."""

import functools
import hashlib
import json
import pickle
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from coda_keras import CoDANet, load_model
from coda_keras.commands.import_net import main
from coda_keras.importing import authors, torch_file
from coda_keras.importing.catalogue import FAMILIES
from coda_keras.importing.published import Published

NAME = "9L-S-CoDA-SQ-1000"


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A state dict of S-CoDA with layers of rank 1, in a folder that is called as the net is."""
    path = tmp_path_factory.mktemp("runs") / NAME / "model_epoch_200.pkl"
    net = CoDANet.from_preset("s_coda", rank_scale=0.02)
    torch_file.write(path, authors.state_dict(net))
    return path


@pytest.fixture
def refuses(capsys):
    """Asserts that a command line ends with one line and exit code 2."""

    def check(words, sentence):
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words], "coda-keras import")
        assert end.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("coda-keras import: error: ") and sentence in line

    return check


def test_a_file_becomes_a_net_with_a_card_and_goes_back(stored, tmp_path, capsys, refuses):
    out = tmp_path / "net.keras"
    main(["authors", str(stored), "--out", str(out)])
    printed = capsys.readouterr().out
    assert f"{out}: {NAME}, " in printed and "T = 1000" in printed
    net = load_model(out)
    assert (net.temperature, net.image_size, net.classes) == (1000.0, (32, 32), 10)
    card = json.loads((tmp_path / "net.json").read_text())
    assert card["name"] == NAME and card["source"].startswith("https://nextcloud.mpi-klsb.mpg.de")
    assert "without terms of their own" in card["licence"] and card["temperature"] == 1000.0
    assert card["class_names"] == net.class_names and len(net.class_names) == 10
    assert card["sha256"] == hashlib.sha256(stored.read_bytes()).hexdigest()
    back = tmp_path / "back.pkl"
    main(["authors", str(out), "--to-torch", str(back)])
    assert "make_coda_net(in_channels=6, out_chs=[16, 16, " in capsys.readouterr().out
    before, after = torch_file.read(stored), torch_file.read(back)
    assert list(before) == list(after)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    refuses(["authors", stored, "--out", out], "net.keras exists. Give --overwrite to replace it")
    out.unlink()
    refuses(["authors", stored, "--out", out], "net.json exists. Give --overwrite to replace it")


def test_a_file_of_an_unknown_net_needs_a_temperature(stored, tmp_path, refuses):
    copy = tmp_path / "mine.pkl"
    copy.write_bytes(stored.read_bytes())
    out = tmp_path / "net.keras"
    refuses(["authors", copy, "--out", out], "Give its --name, such as 9L-S-CoDA-SQ-10, or its")
    refuses(["authors", copy, "--out", out, "--name", "9L"], "--name 9L is none of 9L-S-CoDA-SQ-10")
    main(["authors", str(copy), "--out", str(out), "--temperature", "64"])
    assert load_model(out).temperature == 64.0
    card = json.loads((tmp_path / "net.json").read_text())
    assert (card["name"], card["source"]) == ("s_coda", "mine.pkl")


def test_what_is_no_such_net_is_refused_in_a_line(tmp_path, refuses):
    out, path = tmp_path / "net.keras", tmp_path / f"{NAME}.pkl"
    torch_file.write(path, {"fc.weight": np.ones(3)})
    refuses(["authors", path, "--out", out], "holds no net of the authors of the paper: its param")
    state = authors.state_dict(CoDANet.from_preset("s_coda", rank_scale=0.02))
    torch_file.write(path, {**state, "0.weight_mod.weighting_f.1.bias": np.full(864, np.nan)})
    refuses(["authors", path, "--out", out], "weights that are infinite or no numbers")
    path.write_bytes(b"no weights")
    refuses(["authors", path, "--out", out], "cannot be read as a state dict of `torch.save`")
    refuses(["authors", "9L-S-CoDA-SQ-100O", "--out", out], "Did you mean 9L-S-CoDA-SQ-100")
    refuses(["authors", NAME, "--out", tmp_path / "net.h5"], "must end with .keras")
    refuses(["authors", NAME], "one of the arguments --out --to-torch is required")
    refuses(["authors", path, "--to-torch", out], "cannot be loaded as a Keras model")
    assert not out.exists()


class Harm:
    """Writes a file wherever it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("family", ["authors", "bcos"])
def test_files_of_neither_kind_are_refused_in_a_line(family, stored, tmp_path, refuses):
    out = tmp_path / "net.keras"
    path = tmp_path / {"authors": f"{NAME}.pkl", "bcos": "resnet_18.pth"}[family]
    words = [family, path, "--out", out]
    for hostile in ({"fc.weight": Harm(tmp_path / "harm")}, Harm(tmp_path / "harm")):
        path.write_bytes(pickle.dumps(hostile, 2))
        refuses(words, "its pickle asks for io.open, which is no tensor")
        torch_file.write(path, {"fc.weight": np.ones((3, 2))})
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        members["archive/data.pkl"] = pickle.dumps(hostile, 2)
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        refuses(words, "its pickle asks for io.open, which is no tensor")
    assert not (tmp_path / "harm").exists()
    path.write_bytes(stored.read_bytes()[:-1000])
    refuses(words, "cannot be read as a state dict of `torch.save`: it is neither a zip archive")
    title = {"authors": "the authors of the paper: its parameter 'fc", "bcos": "B-cos v2: it lacks"}
    torch_file.write(path, {"fc.linear.weight": np.ones((3, 512, 1, 1))})
    refuses(words, f"{path} holds no net of {title[family]}")
    if family == "bcos":
        path.write_bytes(stored.read_bytes())
        refuses(words, "it has no last layer of a resnet_18, but parameters such as 0_weight_mod")
    assert not out.exists()


@pytest.fixture
def publish(stored, monkeypatch):
    """Publishes the file under a name on a server of this test, with a checksum."""
    handler = functools.partial(Quiet, directory=stored.parent)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def register(path, sha256=""):
        url = f"http://127.0.0.1:{server.server_port}/{path}"
        net = Published(NAME, url, f"{NAME}.pkl", sha256)
        monkeypatch.setitem(FAMILIES["authors"].nets, NAME, net)
        return url

    yield register
    server.shutdown()
    server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/cut":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"9\r\ncut")

    def log_message(self, *_):
        pass


def test_a_published_net_is_fetched(publish, stored, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sha256 = hashlib.sha256(stored.read_bytes()).hexdigest()[:10]
    url = publish(stored.name, sha256)
    main(["authors", NAME, "--out", "net.keras"])
    assert json.loads((tmp_path / "net.json").read_text())["source"] == url
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.json", "net.keras"]


def test_what_cannot_be_fetched_is_told_with_a_remedy(publish, tmp_path, monkeypatch, refuses):
    monkeypatch.chdir(tmp_path)
    url = publish("nowhere")
    remedy = f"bring the file as {NAME}.pkl, and type: coda-keras import authors --out net.keras"
    refuses(
        ["authors", NAME, "--out", "net.keras"], f"cannot be fetched from {url} (File not found)."
    )
    refuses(["authors", NAME, "--out", "net.keras"], f"{remedy} {NAME}.pkl")
    publish("cut")
    refuses(["authors", NAME, "--out", "net.keras"], "(IncompleteRead(")
    publish("model_epoch_200.pkl", sha256="0000000000")
    refuses(["authors", NAME, "--out", "net.keras"], "is another file than was published")
    publish("model_epoch_200.pkl")
    monkeypatch.setattr("coda_keras.importing.published.MAX_BYTES", 2**16)
    refuses(["authors", NAME, "--out", "net.keras"], "it has more than 65536 bytes")
    assert list(tmp_path.iterdir()) == []
