"""StoreContract on S3: our own server, which locks, and moto's, which speaks more of the protocol."""

from __future__ import annotations

import uuid

import pytest

from deltalite.storage import open_store
from deltalite.testing.s3_server import S3Server
from deltalite.testing.stores import StoreContract

pytest.importorskip("s3fs")


@pytest.fixture(scope="module")
def server():
    with S3Server() as server:
        yield server


@pytest.fixture(scope="module")
def moto():
    """moto's URL and a client of botocore's own."""
    server_module = pytest.importorskip("moto.server")
    import botocore.session

    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    client = botocore.session.Session().create_client("s3", region_name="us-east-1", endpoint_url=url, **keys)
    yield url, client
    client.close()
    server.stop()


class TestOwnServer(StoreContract):
    @pytest.fixture
    def store(self, server):
        server.objects["bucket"].clear()
        return open_store("s3://bucket/some/table", server.storage_options, pickle_secrets=True)

    @pytest.fixture(autouse=True)
    def _server(self, server):
        self.server = server

    def raw_put(self, store, path, data):
        self.server.put("some/table/" + path, data)

    def raw_get(self, store, path):
        return self.server.get("some/table/" + path)


def test_a_table_may_be_the_bucket_itself(server):
    server.objects["bucket"].clear()
    store = open_store("s3a://bucket/", server.storage_options)
    store.put("part.parquet", b"x")
    store.put_if_absent("_delta_log/0.json", b"y")
    assert server.get("part.parquet") == b"x"
    assert store.root == "s3://bucket"
    assert [meta.path for meta in store.list_from("")] == ["part.parquet"]
    assert {meta.path for meta in store.list_all()} == {"part.parquet", "_delta_log/0.json"}
    assert store.delete_many(["part.parquet"]) == ["part.parquet"]


class TestMoto(StoreContract):
    @pytest.fixture
    def store(self, moto):
        url, self.client = moto
        self.bucket = uuid.uuid4().hex
        self.client.create_bucket(Bucket=self.bucket)
        options = {
            "endpoint_url": url,
            "access_key_id": "testing",
            "secret_access_key": "testing",
            "region": "us-east-1",
        }
        return open_store(f"s3://{self.bucket}/table", options, pickle_secrets=True)

    def raw_put(self, store, path, data):
        self.client.put_object(Bucket=self.bucket, Key="table/" + path, Body=data)

    def raw_get(self, store, path):
        try:
            return self.client.get_object(Bucket=self.bucket, Key="table/" + path)["Body"].read()
        except self.client.exceptions.NoSuchKey:
            return None

    # moto looks, then puts: it tests the client, not atomicity
    test_of_many_racing_creators_one_wins = None
    test_the_probe_agrees_with_the_promise = None
    test_paths_never_leave_the_root = None

    @pytest.mark.slow
    def test_long_listings_are_complete_and_ordered(self, store):
        super().test_long_listings_are_complete_and_ordered(store)
