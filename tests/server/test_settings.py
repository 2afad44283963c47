"""Settings: a human's to choose, by environment or command line, and refused at once where they are wrong."""

import re
from pathlib import Path

import pytest
from asi_evolve.server.cli import main
from asi_evolve.server.settings import Settings
from pydantic import ValidationError

from .conftest import cli

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ASI_EVOLVE_{name.upper()}", raising=False)


def test_the_settings_are_these_and_no_others():
    assert set(Settings.model_fields) == {
        "home",
        "python",
        "cpu_slots",
        "gpus",
        "idle_seconds",
        "sandbox_minimum",
        "arxiv_url",
        "transport",
        "http_host",
        "http_port",
        "http_allowed_hosts",
        "http_token",
        "judge_url",
        "judge_model",
        "judge_api_key",
        "judge_timeout_s",
        "log_level",
        "embedder",
        "embedder_weights",
        "embedder_url",
        "embedder_model",
        "embedder_api_key",
        "embedder_dimension",
        "embedder_timeout_s",
        "embedder_max_characters",
    }
    assert all(field.description for field in Settings.model_fields.values())


def test_every_setting_has_a_row_in_the_docs_with_its_default_and_no_other_has():
    rows = dict(re.findall(r"^\| `ASI_EVOLVE_(\w+)`[^|]*\|([^|]*)\|", DOCS.read_text(), re.MULTILINE))
    assert {name.lower() for name in rows} == set(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        if field.default_factory is None and field.default not in (None, ""):
            shown = str(field.default).removesuffix(".0")
            assert f"`{shown}`" in rows[name.upper()], name


def test_the_defaults_serve_this_machine_alone():
    settings = Settings()
    assert settings.transport == "stdio"
    assert settings.http_host == "127.0.0.1"
    assert settings.http_token is None
    assert settings.home.is_absolute()
    assert settings.cpu_slots >= 1


def test_the_environment_is_read_and_what_is_given_directly_wins(monkeypatch, tmp_path):
    monkeypatch.setenv("ASI_EVOLVE_HOME", str(tmp_path / "a"))
    monkeypatch.setenv("ASI_EVOLVE_CPU_SLOTS", "3")
    assert (Settings().home, Settings().cpu_slots) == (tmp_path / "a", 3)
    assert Settings(home=tmp_path / "b").home == tmp_path / "b"


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_an_empty_variable_is_as_good_as_none(monkeypatch, name):
    unset = Settings()
    monkeypatch.setenv(f"ASI_EVOLVE_{name.upper()}", "")
    assert Settings() == unset


def test_an_empty_token_does_not_open_the_door(monkeypatch):
    monkeypatch.setenv("ASI_EVOLVE_HTTP_TOKEN", "")
    with pytest.raises(ValidationError, match="ASI_EVOLVE_HTTP_TOKEN is empty"):
        Settings(transport="http")


def test_a_relative_home_is_made_absolute_since_the_daemon_runs_elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert Settings(home="here").home == tmp_path / "here"
    assert Settings(home="~/there").home == Path.home() / "there"


@pytest.mark.parametrize(
    ("gpus", "devices"), [("none", ()), ("0", (0,)), ("0,2", (0, 2)), ("1, 3", (1, 3)), ("0,0", (0,))]
)
def test_gpus_are_a_list_of_device_numbers(gpus, devices):
    assert Settings(gpus=gpus).gpu_devices() == devices


def test_a_token_is_never_shown():
    settings = Settings(http_token="0123456789abcdef-secret")
    assert "secret" not in repr(settings) + str(settings) + settings.model_dump_json()


WRONG = {
    "cpu_slots": ["0", "many", "2000"],
    "gpus": ["all", "0;1", "-1", "0,,1", "0,", "²"],
    "idle_seconds": ["0", "-5", "nan"],
    "sandbox_minimum": ["none", "seatbelt"],
    "transport": ["websocket"],
    "http_port": ["-1", "65536", "http"],
    "http_token": ["too short"],
    "log_level": ["loud"],
    "embedder": ["bert"],
    "embedder_weights": ["/nowhere", "/tmp"],
    "embedder_url": ["example.org/v1", "ftp://example.org", "https://", "https://a:b@example.org", "https://e.org?k=1"],
    "embedder_api_key": ["two words", "line\nend", "schlüssel"],
    "embedder_dimension": ["0", "40000"],
    "embedder_timeout_s": ["0", "nan", "inf"],
    "embedder_max_characters": ["1"],
    "python": ["/nowhere/python", "python3", "/tmp"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_refused_by_name(monkeypatch, capsys, name, value):
    monkeypatch.setenv(f"ASI_EVOLVE_{name.upper()}", value)
    with pytest.raises(ValidationError):
        Settings()
    assert main(["campaigns"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("asi-evolve: ")
    assert name in said.lower()
    assert "Traceback" not in said


def test_a_user_without_a_home_is_asked_for_a_workspace(monkeypatch, capsys):
    def no_home(*_):
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr("platformdirs.user_data_dir", no_home)
    assert main(["campaigns"]) == 1
    assert capsys.readouterr().err.startswith("asi-evolve: ASI_EVOLVE_HOME: ")


def test_an_endpoint_needs_an_address_and_a_model():
    for given in ({"embedder": "openai"}, {"embedder_url": "https://example.org/v1"}):
        with pytest.raises(ValidationError, match="ASI_EVOLVE_EMBEDDER_URL and ASI_EVOLVE_EMBEDDER_MODEL"):
            Settings(**given)
    Settings(embedder="minilm", embedder_url="https://example.org/v1")


def test_a_key_goes_to_the_embedder_and_is_never_shown(monkeypatch, capsys):
    settings = Settings(embedder_url="https://e.org", embedder_model="m", embedder_api_key="sk-secret")
    assert settings.embedder_options().api_key == "sk-secret"
    assert "secret" not in repr(settings) + settings.model_dump_json() + repr(settings.embedder_options())
    monkeypatch.setenv("ASI_EVOLVE_EMBEDDER_API_KEY", "sk secret")
    assert main(["campaigns"]) == 1
    assert "secret" not in capsys.readouterr().err


def test_wrong_values_are_told_all_at_once(monkeypatch, capsys):
    monkeypatch.setenv("ASI_EVOLVE_CPU_SLOTS", "0")
    monkeypatch.setenv("ASI_EVOLVE_LOG_LEVEL", "loud")
    assert main(["campaigns"]) == 1
    said = capsys.readouterr().err
    assert "ASI_EVOLVE_CPU_SLOTS: " in said
    assert "ASI_EVOLVE_LOG_LEVEL: " in said


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.org"])
def test_to_let_other_machines_in_takes_a_token(host):
    with pytest.raises(ValidationError, match="openssl rand -hex 24"):
        Settings(transport="http", http_host=host)
    assert Settings(transport="http", http_host=host, http_token="0123456789abcdef").http_host == host
    assert Settings(transport="stdio", http_host=host).http_host == host, "where nothing listens nothing is refused"


def test_a_server_that_would_let_anybody_in_does_not_start(tmp_path):
    ended = cli("serve", "--transport", "http", "--host", "0.0.0.0", "--port", "0", "--workspace", tmp_path / "w")
    assert ended.returncode == 1
    assert "ASI_EVOLVE_HTTP_TOKEN" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "w").exists()


def test_a_wrong_setting_ends_the_server_at_start_with_status_1(tmp_path):
    ended = cli("serve", "--workspace", tmp_path, ASI_EVOLVE_HTTP_PORT="99999")
    assert ended.returncode == 1
    assert ended.stderr.startswith("asi-evolve: ASI_EVOLVE_HTTP_PORT: ")
    assert "65535" in ended.stderr
    assert ended.stdout == ""


def test_a_workspace_that_cannot_be_made_ends_the_server_at_start_with_status_1(tmp_path):
    (tmp_path / "file").touch()
    ended = cli("serve", "--workspace", tmp_path / "file")
    assert ended.returncode == 1
    assert f"Expected to make the workspace folder {tmp_path / 'file'}" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "url", ["export.arxiv.org/api", "ftp://arxiv.org/x", "http://", "https://a.org/q?x=1", "file:///x"]
)
def test_an_address_of_arxiv_that_is_none_is_refused(url, monkeypatch, capsys):
    monkeypatch.setenv("ASI_EVOLVE_ARXIV_URL", url)
    with pytest.raises(ValidationError, match="expected an http or https URL"):
        Settings()


def test_a_mirror_of_arxiv_can_be_named(monkeypatch):
    monkeypatch.setenv("ASI_EVOLVE_ARXIV_URL", "http://localhost:8080/api/query")
    assert Settings().arxiv_url == "http://localhost:8080/api/query"
