"""Where tables are said to be, and with which options."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest

from deltalite.exceptions import InvalidArgumentError, StorageError
from deltalite.storage import normalise_url, open_store
from deltalite.storage.local import LocalStore
from deltalite.storage.memory import MemoryStore
from deltalite.storage.options import azure_options, gcs_options, local_options, s3_options
from deltalite.storage.s3_config import conditional_put_obstacle, s3_config

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX paths")


@posix
@pytest.mark.parametrize(
    "given, expected",
    [
        ("/a/b", "/a/b"),
        ("/a/b/", "/a/b"),
        ("/a/../b//c", "/b/c"),
        ("file:///a/b", "/a/b"),
        ("file:/a/b", "/a/b"),
        ("FILE:///a", "/a"),
        ("file://localhost/a", "/a"),
        ("file:///a%20b/%C3%BC", "/a b/ü"),
        ("/a%20b", "/a%20b"),
        ("file:///a#b?c", "/a#b?c"),
        ("/a|b\nc", "/a|b\nc"),
        (Path("/x/y"), "/x/y"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("s3a://bucket/a", "s3://bucket/a"),
        ("S3N://bucket/a", "s3://bucket/a"),
        ("s3://bucket/a%20b c", "s3://bucket/a%20b c"),
        ("gcs://bucket/a", "gs://bucket/a"),
        ("abfss://c@a.dfs.core.windows.net/t", "abfss://c@a.dfs.core.windows.net/t"),
        ("memory://x", "memory://x"),
        ("sftp://u:p@host/x", "sftp://***@host/x"),
    ],
)
def test_one_spelling(given, expected):
    assert normalise_url(given) == expected
    if "***" not in expected:
        assert normalise_url(expected) == expected


def test_relative_paths_and_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert normalise_url("t") == normalise_url("./t") == normalise_url("~/t") == str(tmp_path / "t")
    assert open_store("t").root == str(tmp_path / "t")


@pytest.mark.parametrize("given", ["", " ", "a\0b", b"bytes"])
def test_no_place_at_all(given):
    with pytest.raises(InvalidArgumentError):
        open_store(given)


@pytest.mark.parametrize(
    "given, message",
    [
        ("nosuch://host/t", "no storage is known"),
        ("file://server/share", "another host"),
        ("simplecache::s3://bucket/t", "chains"),
        ("s3:/bucket/t", "neither a URL"),
        ("s3://", "s3://bucket/prefix"),
        ("s3:///t", "s3://bucket/prefix"),
    ],
)
def test_places_that_are_refused(given, message):
    with pytest.raises(StorageError, match=message):
        open_store(given)


@pytest.mark.parametrize("scheme, extra", [("gs", "gcs"), ("abfss", "azure"), ("az", "azure")])
def test_missing_libraries_name_their_extra(scheme, extra):
    try:
        open_store(f"{scheme}://bucket/t", {"skip_signature": "true"})
    except StorageError as error:
        if "not installed" in error.message:
            assert f"deltalite[{extra}]" in error.hint


def test_unknown_durability():
    with pytest.raises(InvalidArgumentError, match="full"):
        open_store("/t", durability="lazy")


def test_drive_letters_are_no_schemes(monkeypatch):
    import ntpath

    from deltalite.storage import urls

    monkeypatch.setattr(urls.os, "path", ntpath)
    monkeypatch.setattr(urls.sys, "platform", "win32")
    assert urls.split_url("C:\\data\\t") == ("file", "C:\\data\\t")
    assert urls.split_url("C:/data/t") == ("file", "C:\\data\\t")
    assert urls.split_url("file:///C:/data/t%20x") == ("file", "C:\\data\\t x")


def test_memory_handles_share_their_objects():
    one, other = open_store("memory://shared/t"), open_store("memory://shared/t/")
    assert isinstance(one, MemoryStore)
    one.put("x", b"1")
    assert other.get("x") == b"1"
    assert open_store("memory://shared").get("t/x") == b"1"
    one.clear()
    assert other.head("x") is None


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"AWS_ACCESS_KEY_ID": "i", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t", "AWS_REGION": "r"},
        {"aws_access_key_id": "i", "aws_secret_access_key": "s", "aws_session_token": "t", "aws_region": "r"},
        {"access_key_id": "i", "secret_access_key": "s", "session_token": "t", "region": "r"},
        {"key": "i", "secret": "s", "token": "t", "default_region": "r"},
        {"Access-Key-Id": "i", "SECRET_ACCESS_KEY": "s", "token": "t", "AWS_DEFAULT_REGION": "r"},
        {"key": "i", "secret": "s", "token": "t", "client_kwargs": {"region_name": "r"}},
    ],
    ids=lambda options: next(iter(options)),
)
def test_spellings_of_s3_options(options):
    arguments = s3_config(options, {}).arguments
    assert (arguments["key"], arguments["secret"], arguments["token"]) == ("i", "s", "t")
    assert arguments["client_kwargs"] == {"region_name": "r"}


@pytest.mark.parametrize(
    "options",
    [
        {"AWS_ENDPOINT_URL": "https://h"},
        {"endpoint": "https://h"},
        {"aws_endpoint": "https://h"},
        {"endpoint_url": "https://h"},
        {"client_kwargs": {"endpoint_url": "https://h"}},
    ],
    ids=str,
)
def test_endpoints(options):
    arguments = s3_config(options, {}).arguments
    assert arguments["endpoint_url"] == "https://h"
    assert arguments["config_kwargs"]["s3"] == {"addressing_style": "path"}
    assert arguments["client_kwargs"] == {}
    virtual = s3_config({**options, "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true"}, {}).arguments
    assert virtual["config_kwargs"]["s3"] == {"addressing_style": "virtual"}


def test_what_is_forced_whatever_is_given():
    arguments = s3_config({"config_kwargs": {"retries": {"max_attempts": 9}}, "version_aware": True}, {}).arguments
    assert arguments["config_kwargs"]["retries"] == {"total_max_attempts": 1, "mode": "standard"}
    assert arguments["use_listings_cache"] is False
    assert arguments["skip_instance_cache"] is True
    assert arguments["version_aware"] is False
    assert arguments["default_cache_type"] == "none"


def test_the_environment_fills_in():
    environment = {"AWS_REGION": "r", "AWS_ENDPOINT_URL": "http://minio:9000", "AWS_ALLOW_HTTP": "true"}
    arguments = s3_config({}, environment).arguments
    assert arguments["endpoint_url"] == "http://minio:9000"
    assert arguments["client_kwargs"] == {"region_name": "r"}
    assert s3_config({"region": "mine"}, environment).arguments["client_kwargs"] == {"region_name": "mine"}


@pytest.mark.bug("S-14")
def test_plain_http_needs_a_word():
    with pytest.raises(StorageError, match="not encrypted"):
        s3_config({"endpoint_url": "http://minio:9000"}, {})
    with pytest.raises(StorageError, match="not encrypted"):
        s3_config({"endpoint_url": "http://127.evil.example"}, {"AWS_ALLOW_HTTP": "false"})
    s3_config({"endpoint_url": "http://minio:9000", "allow_http": "true"}, {})
    for loopback in ("http://127.0.0.1:9000", "http://localhost:1", "http://[::1]:1"):
        s3_config({"endpoint_url": loopback}, {})


def test_other_s3_options():
    found = s3_config(
        {"timeout": "90s", "connect_timeout": 250, "max_retries": 2, "AWS_REQUEST_PAYER": "true", "anon": True}, {}
    )
    assert found.attempts == 3
    assert found.arguments["config_kwargs"]["read_timeout"] == 90
    assert found.arguments["config_kwargs"]["connect_timeout"] == 250
    assert found.arguments["requester_pays"] is True
    assert found.arguments["anon"] is True
    for options in ({"timeout": "soon"}, {"max_retries": "many"}, {"allow_http": "perhaps", "endpoint": "http://x"}):
        with pytest.raises(InvalidArgumentError):
            s3_config(options, {})


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"aws_server_side_encryption": "AES256"}, {"ServerSideEncryption": "AES256"}),
        (
            {"aws_sse_kms_key_id": "k", "aws_sse_bucket_key_enabled": "true"},
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "k", "BucketKeyEnabled": True},
        ),
        (
            {"aws_server_side_encryption": "sse-c", "aws_sse_customer_key_base64": "a2V5"},
            {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"key"},
        ),
    ],
)
def test_encryption_is_never_dropped(options, expected):
    assert s3_config(options, {}).arguments["s3_additional_kwargs"] == expected


def test_who_else_writes():
    assert conditional_put_obstacle({}, {}) is None
    assert conditional_put_obstacle({"conditional_put": "etag"}, {}) is None
    assert "dynamodb" in conditional_put_obstacle({}, {"AWS_S3_LOCKING_PROVIDER": "dynamodb"})
    assert "disabled" in conditional_put_obstacle({"aws_conditional_put": "disabled"}, {})


def test_switches_of_other_engines_are_known_and_unneeded(caplog):
    caplog.set_level("INFO", "deltalite.storage")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = s3_options({"AWS_S3_ALLOW_UNSAFE_RENAME": "true", "copy_if_not_exists": "multipart", "bucket": "b"})
    assert found.known == {}
    assert "AWS_S3_ALLOW_UNSAFE_RENAME is not needed" in caplog.text


@pytest.mark.parametrize(
    "key, meant",
    [
        ("AWS_REGOIN", "AWS_REGION"),
        ("aws_acces_key_id", "aws_access_key_id"),
        ("endpiont_url", "endpoint_url"),
        ("allow_htpp", "allow_http"),
    ],
)
def test_unknown_keys_are_guessed(key, meant):
    with pytest.warns(UserWarning, match=f"did you mean '{meant}'"):
        s3_options({key: "x"})
    with pytest.warns(UserWarning, match="has no effect$"):
        s3_options({"quite_something_else": "x"})


def test_local_tables_pass_over_cloud_options():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = open_store("/t", {"AWS_REGION": "r", "AZURE_STORAGE_ACCOUNT_NAME": "a", "GOOGLE_SERVICE_ACCOUNT": "s"})
    assert isinstance(store, LocalStore)
    with pytest.warns(UserWarning, match="did you mean 'follow_symlinks'"):
        local_options({"follow_symlink": "true"})


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"GOOGLE_SERVICE_ACCOUNT": "/k.json"}, {"token": "/k.json"}),
        ({"service_account_path": "/k.json"}, {"token": "/k.json"}),
        ({"GOOGLE_APPLICATION_CREDENTIALS": "/k.json"}, {"token": "/k.json"}),
        ({"google_service_account_key": '{"type": "x"}'}, {"token": {"type": "x"}}),
        ({"google_service_account_key": {"type": "x"}}, {"token": {"type": "x"}}),
        ({"google_skip_signature": "true"}, {"token": "anon"}),
        ({"project": "p", "google_base_url": "https://h"}, {"project": "p", "endpoint_url": "https://h"}),
        ({"requester_pays": True}, {"requester_pays": True}),
    ],
    ids=str,
)
def test_google_options(options, expected):
    assert gcs_options(options) == expected


@pytest.mark.parametrize(
    "options, expected",
    [
        (
            {"AZURE_STORAGE_ACCOUNT_NAME": "a", "AZURE_STORAGE_ACCOUNT_KEY": "k"},
            {"account_name": "a", "account_key": "k"},
        ),
        ({"account_name": "a", "access_key": "k"}, {"account_name": "a", "account_key": "k"}),
        ({"azure_storage_sas_key": "s", "account_name": "a"}, {"account_name": "a", "sas_token": "s"}),
        (
            {"azure_client_id": "c", "azure_client_secret": "s", "azure_tenant_id": "t", "account_name": "a"},
            {"account_name": "a", "client_id": "c", "client_secret": "s", "tenant_id": "t"},
        ),
        ({"account_name": "a"}, {"account_name": "a", "anon": False}),
        ({"account_name": "a", "skip_signature": "true"}, {"account_name": "a", "anon": True}),
        ({"use_emulator": "true"}, {"connection_string": "UseDevelopmentStorage=true"}),
    ],
    ids=str,
)
def test_azure_options(options, expected):
    assert azure_options(options) == expected
