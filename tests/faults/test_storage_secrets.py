"""Credentials never leave the storage layer: not in errors, representations, log records or pickles."""

from __future__ import annotations

import logging
import pickle
import traceback
import warnings

import pytest

from deltalite.exceptions import StorageError
from deltalite.storage import AmbiguousPut, normalise_url, open_store, redact
from deltalite.storage.options import public_options
from deltalite.storage.redact import is_secret_name
from deltalite.testing.s3_server import S3Server

CANARY = "cAnArY7Hx"

TEXTS = [
    f"http://user:{CANARY}@host/x",
    f"cannot reach sftp://bob:{CANARY}@host:22/a b",
    f"https://{CANARY}@github.invalid/x",
    f"abfss://container:{CANARY}@account.dfs.core.windows.net/x",
    f"https://b.s3.amazonaws.com/k?X-Amz-Signature={CANARY}&X-Amz-Date=1",
    f"https://b.s3.amazonaws.com/k?X-Amz-Date=1&X-Amz-Credential={CANARY}%2F20261120",
    f"https://b.s3.amazonaws.com/k?X-Amz-Security-Token={CANARY}",
    f"https://acc.blob.core.windows.net/c/b?sv=2022&sig={CANARY}%3D",
    f"https://storage.googleapis.com/b?GoogleAccessId=x&Signature={CANARY}",
    f"https://storage.googleapis.com/b?X-Goog-Signature={CANARY}",
    f"Authorization: AWS4-HMAC-SHA256 Credential={CANARY}/20261120/us-east-1/s3/aws4_request, Signature={CANARY}",
    f"'Authorization': 'Bearer {CANARY}.abc'",
    f"authorization: Basic {CANARY}==",
    f"{{'aws_secret_access_key': '{CANARY}', 'region': 'x'}}",
    f'{{"secret_access_key": "{CANARY}"}}',
    f"secret={CANARY} token={CANARY}, password: {CANARY}",
    f"AWS_SESSION_TOKEN={CANARY}",
    f"x-amz-security-token:{CANARY}",
    f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={CANARY}==;EndpointSuffix=core.windows.net",
    f"SharedAccessSignature=sv=2022-11-02&sig={CANARY}",
    f"SharedKey account:{CANARY}",
    f"connection_string='AccountName=a;AccountKey={CANARY}'",
    f"client_secret={CANARY}",
    f"S3FileSystem(key='AKIA{CANARY.upper()}XXXX', secret=b'{CANARY}')",
]


@pytest.mark.bug("S-10")
@pytest.mark.parametrize("text", TEXTS)
def test_redact(text):
    assert CANARY.lower() not in redact(text).lower()


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/some/table: NoSuchBucket: The specified bucket does not exist (HTTP 404)",
        "abfss://container@account.dfs.core.windows.net/table",
        "/home/me/signature/token/x.parquet",
        "part-0.parquet: 100 of 200 bytes",
        "the key is taken",
        "user@example.org wrote it",
    ],
)
def test_redact_leaves_the_rest_alone(text):
    assert redact(text) == text


def test_redact_given_values():
    assert redact("a odd-value b", ["odd-value"]) == "a *** b"
    assert redact("a b", ["", "a"]) == "a b"  # too short to be a secret, too common to mask


@pytest.mark.parametrize(
    "name",
    "AWS_SECRET_ACCESS_KEY aws_access_key_id secret key token AWS_SESSION_TOKEN session_token password "
    "AZURE_STORAGE_ACCOUNT_KEY account_key sas_token AZURE_STORAGE_SAS_KEY connection_string client_secret "
    "GOOGLE_SERVICE_ACCOUNT_KEY aws_sse_customer_key_base64 bearer_token passphrase".split(),
)
def test_secret_names(name):
    assert is_secret_name(name)
    assert public_options({name: CANARY, "client_kwargs": {name: CANARY}}) == {"client_kwargs": {}}


@pytest.mark.parametrize("name", "AWS_REGION endpoint_url allow_http account_name tenant_id project profile".split())
def test_public_names(name):
    assert not is_secret_name(name)
    assert public_options({name: "x"}) == {name: "x"}
    assert public_options({name: f"https://u:{CANARY}@h"}) == {}


# --- canaries ---------------------------------------------------------------------------------------------------------


def everything_about(error):
    """All text that hangs on an exception: its chain, their arguments, and the printed traceback."""
    texts = ["".join(traceback.format_exception(error))]
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        texts += [repr(error), str(error), repr(error.args), repr(getattr(error, "context", ""))]
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


@pytest.mark.bug("S-10")
def test_canaries_in_s3(caplog):
    pytest.importorskip("s3fs")
    caplog.set_level(logging.DEBUG)
    texts = []
    with S3Server() as server:
        options = {
            **server.storage_options,
            "AWS_ACCESS_KEY_ID": f"{CANARY}id",
            "AWS_SECRET_ACCESS_KEY": f"{CANARY}secret",
            "AWS_SESSION_TOKEN": f"{CANARY}token",
            "max_retries": "0",
        }
        store = open_store("s3://bucket/t", options)
        store.put("ok", b"1")
        calls = [
            lambda: store.get("missing"),
            lambda: store.get("ok"),
            lambda: store.get_range("ok", 0, 1),
            lambda: store.put("x", b""),
            lambda: store.put_if_absent("x", b""),
            lambda: list(store.list_from("")),
            lambda: list(store.list_all()),
            lambda: store.head("ok"),
            lambda: store.open_input("ok"),
            lambda: store.delete_many(["ok"]),
        ]
        faults = [
            {"action": "error", "status": 403, "code": "AccessDenied"},
            {"action": "error", "status": 403, "code": "SignatureDoesNotMatch"},
            {"action": "error", "status": 500},
            {"action": "drop"},
        ]
        for fault in faults:
            for call in calls:
                for method in ("GET", "PUT", "HEAD", "POST"):
                    server.inject(**fault, method=method, times=1)
                try:
                    call()
                except (StorageError, OSError, AmbiguousPut) as error:
                    texts.append(everything_about(error))
                server._faults.clear()
        texts += [repr(store), str(store), store.root]
        assert CANARY.encode() not in pickle.dumps(store)
    records = [f"{record.name} {record.getMessage()} {record.exc_text or ''}" for record in caplog.records]
    assert len(texts) > 30
    assert len(records) > 100, "botocore says nothing at DEBUG"
    leaks = [text for text in [*texts, *records] if CANARY in text]
    assert leaks == []


@pytest.mark.bug("S-10")
@pytest.mark.parametrize(
    "url, options",
    [
        (f"s3://user:{CANARY}@bucket/t", {}),
        (f"nosuch://user:{CANARY}@host/t", {}),
        (f"sftp://user:{CANARY}@127.0.0.1:1/t", {}),
        (f"ftp://user:{CANARY}@127.0.0.1:1/t", {}),
        ("s3://bucket/t", {"endpoint_url": f"http://user:{CANARY}@127.0.0.1:9"}),
        ("s3://bucket/t", {"endpoint_url": f"http://storage.invalid?token={CANARY}"}),
        ("gs://bucket/t", {"service_account_key": f'{{"private_key": "{CANARY}"}}'}),
        ("abfss://c@a.dfs.core.windows.net/t", {"account_key": CANARY}),
    ],
)
def test_canaries_in_urls_and_options(url, options, caplog):
    caplog.set_level(logging.DEBUG)
    assert CANARY not in normalise_url(url)
    try:
        store = open_store(url, options)
        assert CANARY not in repr(store) + store.root
        store.get("x")
    except (StorageError, OSError) as error:
        assert CANARY not in everything_about(error)
    else:
        pytest.fail("nobody is there to be reached")
    assert CANARY not in caplog.text


def test_unknown_options_are_named_without_their_values():
    with pytest.warns(UserWarning, match="secret_acces_key") as caught:
        open_store("s3://bucket/t", {"secret_acces_key": CANARY})
    assert CANARY not in str(caught[0].message)
    assert "did you mean 'secret_access_key'" in str(caught[0].message)


@pytest.mark.bug("S-10")
def test_pickles_carry_secrets_only_when_told(monkeypatch):
    pytest.importorskip("s3fs")
    with S3Server() as server:
        options = {**server.storage_options, "AWS_ACCESS_KEY_ID": "AKIAoptions", "AWS_SECRET_ACCESS_KEY": CANARY}
        store = open_store("s3://bucket/t", options, single_writer=True)
        store.put("x", b"1")
        public = pickle.dumps(store)
        assert CANARY.encode() not in public
        assert b"AKIAoptions" not in public
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "fromtheenvironment")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
        assert pickle.loads(public).get("x") == b"1"
        assert server.access_keys[-1] == "fromtheenvironment"
        secret = pickle.dumps(open_store("s3://bucket/t", options, pickle_secrets=True))
        assert CANARY.encode() in secret
        assert pickle.loads(pickle.dumps(pickle.loads(secret))).get("x") == b"1"
        assert server.access_keys[-1] == "AKIAoptions"


def test_a_file_system_given_as_an_object_is_not_pickled_unless_told():
    fsspec = pytest.importorskip("fsspec")
    fs = fsspec.filesystem("memory", skip_instance_cache=True, password=CANARY)
    with pytest.raises(StorageError, match="pickle_secrets"):
        pickle.dumps(open_store("/t", filesystem=fs))
    store = open_store("/t", filesystem=fs, pickle_secrets=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert pickle.loads(pickle.dumps(store)).root == store.root
