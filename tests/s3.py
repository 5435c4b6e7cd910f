"""A real S3-speaking server (moto, over HTTP, signatures checked) and a public address before it.

The public address is like those of R2, MinIO and CloudFront: anyone can read, by range or whole,
without credentials.
"""

import json
import urllib.request
from contextlib import closing
from types import TracebackType
from typing import Self

import boto3
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer
from pydantic import SecretStr

from assay.network.store.bucket import BucketStore, open_bucket
from assay.network.store.bucket_service import BucketAddress
from assay.network.store.s3_signing import Credentials
from tests.network.store.hostile import Hostile, answer

REGION = "us-east-1"
BUCKET = "miners"
PREFIX = "one"


class S3:
    """The server, a bucket, a key that may do everything in it, and the bucket's public address.

    Attributes:
        endpoint: of the service.
        key_id, secret: of the key.
        public: locator of the bucket's prefix.
    """

    def __init__(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)

    def __enter__(self) -> Self:
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.endpoint = f"http://{host}:{port}"
        self._ask("reset-auth", b"1e9")
        iam = self.connect("iam")
        iam.create_user(UserName="miner")
        rule = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [rule]})
        iam.put_user_policy(UserName="miner", PolicyName="all", PolicyDocument=policy)
        key = iam.create_access_key(UserName="miner")["AccessKey"]
        self.key_id, self.secret = key["AccessKeyId"], key["SecretAccessKey"]
        self.connect("s3").create_bucket(Bucket=BUCKET)
        self._ask("reset-auth", b"0")  # from here on every signature is checked
        self._reader = self.connect("s3")
        self.front = Hostile(self._show)
        self.public = f"{self.front.url}/{PREFIX}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with closing(self.front):
            self._ask("reset", b"all")
            self._server.stop()

    @property
    def credentials(self) -> Credentials:
        return Credentials(SecretStr(self.key_id), SecretStr(self.secret))

    def open(self, credentials: Credentials | None = None) -> BucketStore:
        """The bucket as who writes it sees it."""
        address = BucketAddress(BUCKET, PREFIX, self.endpoint, REGION)
        return open_bucket(address, credentials or self.credentials)

    def connect(self, service: str):
        """A client of AWS's own, with the key."""
        key_id, secret = getattr(self, "key_id", "root"), getattr(self, "secret", "root")
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
        )

    def _ask(self, what: str, data: bytes) -> None:
        request = urllib.request.Request(
            f"{self.endpoint}/moto-api/{what}", data, {"Content-Type": "text/plain"}
        )
        with urllib.request.urlopen(request, timeout=60):
            pass

    def _show(self, method, path, headers, connection) -> bool:
        try:
            found = self._reader.get_object(Bucket=BUCKET, Key=path.lstrip("/"))
        except ClientError:
            answer(connection, 404)
            return True
        data, etag = found["Body"].read(), f"ETag: {found['ETag']}"
        if method == "HEAD":
            answer(connection, 200, b"", f"Content-Length: {len(data)}", etag)
        elif "range" in headers:
            first, last = map(int, headers["range"].removeprefix("bytes=").split("-"))
            last = min(last, len(data) - 1)
            where = f"Content-Range: bytes {first}-{last}/{len(data)}"
            answer(connection, 206, data[first : last + 1], where, etag)
        else:
            answer(connection, 200, data, etag)
        return True
