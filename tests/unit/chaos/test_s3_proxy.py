"""The proxy in front of S3 does what it is told to, and nothing else."""

from __future__ import annotations

import asyncio

import aiohttp
import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer
from tests.chaos.faults import Fault
from tests.chaos.s3_proxy import S3Proxy
from tests.unit.chaos.conftest import Behind, Chosen

Server = tuple[Behind, str]


@pytest.mark.parametrize(
    ("fault", "status", "code"), [(Fault.ERROR, 500, "InternalError"), (Fault.BUSY, 503, "SlowDown")]
)
async def test_a_refusal_is_an_error_document_and_nothing_is_done(
    behind: Server, session: aiohttp.ClientSession, fault: Fault, status: int, code: str
) -> None:
    server, url = behind
    async with S3Proxy.before(url, Chosen(fault)) as (_, own), session.put(f"{own}/b/k", data=b"x") as response:
        assert response.status == status
        assert f"<Code>{code}</Code>" in await response.text()
    assert server.asked == []


async def test_a_lost_answer_is_an_error_for_what_was_done(behind: Server, session: aiohttp.ClientSession) -> None:
    server, url = behind
    async with S3Proxy.before(url, Chosen(Fault.LOST)) as (_, own), session.put(f"{own}/b/k", data=b"x") as response:
        assert response.status == 500
    assert server.asked == [("PUT", "/b/k", b"x")]


async def test_a_truncated_answer_is_shorter_than_it_says(behind: Server, session: aiohttp.ClientSession) -> None:
    _, url = behind
    async with S3Proxy.before(url, Chosen(Fault.TRUNCATE)) as (_, own), session.get(f"{own}/b/k") as response:
        assert response.headers["Content-Length"] == str(len("a whole answer"))
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


@pytest.mark.parametrize(("fault", "asked"), [(Fault.COMMIT_AND_HANG, 1), (Fault.HALF_OPEN, 0)])
async def test_a_request_hangs_with_or_without_being_done(
    behind: Server, session: aiohttp.ClientSession, fault: Fault, asked: int
) -> None:
    server, url = behind
    faults = Chosen(fault)
    async with S3Proxy.before(url, faults) as (_, own):
        # Clients send a PUT again by themselves when the connection breaks.
        asking = asyncio.create_task(session.post(f"{own}/b/k").__aenter__())
        await faults.befell.wait()
        while len(server.asked) < asked:  # noqa: ASYNC110 -- the server has no event for it
            await asyncio.sleep(0.01)
        done, _ = await asyncio.wait([asking], timeout=0.1)
        assert not done
        faults.end()
        with pytest.raises(aiohttp.ClientConnectionError):
            await asking
    assert len(server.asked) == asked


async def test_a_real_client_gets_through_with_signatures_conditions_and_lengths() -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    try:
        async with S3Proxy.before(f"http://127.0.0.1:{port}") as (proxy, own):
            await asyncio.to_thread(use, own)
    finally:
        server.stop()
    assert proxy.requests["PUT"] == 3
    assert proxy.requests["HEAD"] == 1


def use(endpoint: str) -> None:
    """Write and read with boto3, as the registry does."""
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )
    client.create_bucket(Bucket="graft")
    client.put_object(Bucket="graft", Key="a b/ü", Body=b"content", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.put_object(Bucket="graft", Key="a b/ü", Body=b"other", IfNoneMatch="*")
    assert client.get_object(Bucket="graft", Key="a b/ü")["Body"].read() == b"content"
    assert client.head_object(Bucket="graft", Key="a b/ü")["ContentLength"] == 7
