"""Short names and profiles of the configuration file, and where storage options come from."""

from __future__ import annotations

import sys

import pytest

from deltalite.cli import config as config_module
from deltalite.cli.config import Alias, load_config
from deltalite.cli.settings import Settings
from deltalite.cli.target import Target
from deltalite.exceptions import InvalidArgumentError

needs_tomllib = pytest.mark.skipif(sys.version_info < (3, 11), reason="the library reads TOML from Python 3.11 on")


@pytest.fixture
def config(tmp_path, monkeypatch):
    path = tmp_path / "config.toml"
    monkeypatch.setenv("DELTALITE_CONFIG", str(path))

    def write(text: str):
        path.write_text(text)
        return path

    return write


def test_no_file_is_an_empty_configuration():
    assert load_config().tables == {} and load_config().profiles == {}


@needs_tomllib
def test_tables_and_profiles(config):
    config(
        '[tables]\nevents = "s3://lake/events"\ntrips = { uri = "t", profile = "minio" }\n'
        '[profiles.minio]\nk = "v"\nn = 1\nb = true\n'
    )
    found = load_config()
    assert found.tables == {"events": Alias("s3://lake/events"), "trips": Alias("t", "minio")}
    assert found.profile("minio") == {"k": "v", "n": "1", "b": "true"}
    with pytest.raises(InvalidArgumentError, match="no profile 'prod'") as error:
        found.profile("prod")
    assert "minio" in error.value.hint


@needs_tomllib
@pytest.mark.parametrize(
    "text",
    [
        "tables = 3",
        "[tables]\nx = 3",
        '[tables]\nx = { url = "a" }',
        "[profiles]\np = 1",
        "[profiles.p]\nx = [1]",
        "[tables",
        "\xff",
    ],
)
def test_a_malformed_file_is_refused_by_name(config, text):
    path = config("")
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidArgumentError, match=r"config\.toml"):
        load_config()


def test_python_3_10_says_what_it_cannot_do(config, monkeypatch):
    config('[tables]\nevents = "x"\n')
    monkeypatch.setattr(config_module.sys, "version_info", (3, 10, 13, "final", 0))
    with pytest.raises(InvalidArgumentError, match=r"3\.11"):
        Settings().locate("events")
    assert Settings().locate("./events")[0] == Target("./events")


@needs_tomllib
def test_a_short_name_takes_a_version_and_its_profile(config):
    config('[tables]\ntrips = { uri = "s3://b/t", profile = "p" }\n[profiles.p]\nregion = "x"\n')
    assert Settings().locate("trips@12") == (Target("s3://b/t", version=12), {"region": "x"})


@needs_tomllib
def test_a_path_that_exists_is_no_short_name(config, tmp_path, monkeypatch):
    config('[tables]\nevents = "s3://b/t"\n')
    monkeypatch.chdir(tmp_path)
    assert Settings().locate("events")[0].uri == "s3://b/t"
    (tmp_path / "events").mkdir()
    assert Settings().locate("events")[0].uri == "events"


@needs_tomllib
def test_the_command_line_wins_over_the_environment_over_the_profile(config, monkeypatch):
    config('[profiles.p]\na = "profile"\nb = "profile"\nc = "profile"\n')
    monkeypatch.setenv("DELTALITE_STORAGE_OPTIONS", "b=environment c='in the environment'")
    settings = Settings(profile="p", storage_option={"c": "line"})
    assert settings.storage_options() == {"a": "profile", "b": "environment", "c": "line"}


def test_storage_options_of_the_environment(monkeypatch):
    monkeypatch.setenv("DELTALITE_STORAGE_OPTIONS", '{"a": "x y", "n": 3, "f": false}')
    assert Settings().storage_options() == {"a": "x y", "n": "3", "f": "false"}
    monkeypatch.setenv("DELTALITE_STORAGE_OPTIONS", "nonsense")
    with pytest.raises(InvalidArgumentError, match="DELTALITE_STORAGE_OPTIONS"):
        Settings().storage_options()
