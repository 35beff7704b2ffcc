"""S3 over the wire, by the clients that people use."""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import json
import os
import re
import sys
import urllib.error
import urllib.request
import zlib
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from support import Server, clean_environment, eventually, invoke, run, zip_files

BIN = Path(sys.executable).parent
FUNCTION = {"Runtime": "python3.11", "Role": "arn:aws:iam::000000000000:role/r", "Handler": "index.handler"}


@pytest.fixture
def bucket(server: Server, request: pytest.FixtureRequest) -> str:
    name = re.sub("[^a-z0-9]+", "-", request.node.name.lower())[:60].strip("-")
    server.client("s3").create_bucket(Bucket=name)
    return name


def aws(server: Server, *arguments: str | Path) -> str:
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    command = [BIN / "aws", "--endpoint-url", server.endpoint, *arguments]
    return run(*command, env=clean_environment() | keys)


def raw(
    server: Server, method: str, target: str, body: bytes = b"", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(server.endpoint.removeprefix("http://"), timeout=60)
    try:
        connection.request(method, target, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_boto3_puts_and_gets(server: Server, bucket: str) -> None:
    s3 = server.client("s3")
    body = os.urandom(300_000)
    s3.put_object(Bucket=bucket, Key="a b/é+%.bin", Body=body, Metadata={"a": "1"}, ContentEncoding="gzip")
    found = s3.get_object(Bucket=bucket, Key="a b/é+%.bin", ChecksumMode="ENABLED")
    assert found["Body"].read() == body
    assert (found["ContentEncoding"], found["Metadata"]) == ("gzip", {"a": "1"})
    assert s3.get_object(Bucket=bucket, Key="a b/é+%.bin", Range="bytes=10-19")["ContentRange"] == "bytes 10-19/300000"
    listed = s3.list_objects_v2(Bucket=bucket)
    assert [one["Key"] for one in listed["Contents"]] == ["a b/é+%.bin"]


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_multipart_with_checksums(server: Server, bucket: str, algorithm: str) -> None:
    if algorithm in ("CRC32C", "CRC64NVME"):
        pytest.importorskip("awscrt", reason="boto3 computes these with it")
    s3 = server.client("s3")
    body = os.urandom((5 << 20) + 7)
    named = {"Bucket": bucket, "Key": "k"}
    begun = s3.create_multipart_upload(**named, ChecksumAlgorithm=algorithm)
    parts = []
    for number, piece in enumerate((body[: 5 << 20], body[5 << 20 :]), 1):
        part = {**named, "UploadId": begun["UploadId"], "PartNumber": number, "ChecksumAlgorithm": algorithm}
        answer = s3.upload_part(**part, Body=piece)
        member = f"Checksum{algorithm}"
        parts.append({"PartNumber": number, "ETag": answer["ETag"], member: answer[member]})
    s3.complete_multipart_upload(**named, UploadId=begun["UploadId"], MultipartUpload={"Parts": parts})
    assert s3.get_object(**named)["Body"].read() == body


def test_transfers_of_many_parts(server: Server, bucket: str) -> None:
    s3 = server.client("s3")
    body = os.urandom(20 << 20)
    s3.upload_fileobj(io.BytesIO(body), bucket, "large")
    out = io.BytesIO()
    s3.download_fileobj(bucket, "large", out)
    assert out.getvalue() == body
    assert s3.head_object(Bucket=bucket, Key="large")["ETag"].endswith('-3"')


def test_what_boto3_sends_in_chunks_with_a_trailer(server: Server, bucket: str) -> None:
    data = os.urandom(200_000)
    size = 65_536
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)

    def send(checksum: int) -> tuple[int, bytes]:
        trailer = b"x-amz-checksum-crc32:" + base64.b64encode(checksum.to_bytes(4, "big"))
        status, _, answer = raw(
            server,
            "PUT",
            f"/{bucket}/k",
            framed + b"0\r\n" + trailer + b"\r\n\r\n",
            x_amz_content_sha256="STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            x_amz_decoded_content_length=str(len(data)),
            x_amz_trailer="x-amz-checksum-crc32",
            Content_Encoding="aws-chunked",
        )
        return status, answer

    status, answer = send(zlib.crc32(data) ^ 1)
    assert (status, b"<Code>BadDigest</Code>" in answer) == (400, True), answer
    assert send(zlib.crc32(data))[0] == 200
    status, headers, answer = raw(server, "GET", f"/{bucket}/k")
    assert (status, answer) == (200, data)
    assert "content-encoding" not in headers


def test_the_signed_payload_hash_is_checked(server: Server, bucket: str) -> None:
    wrong = hashlib.sha256(b"other").hexdigest()
    status, _, answer = raw(server, "PUT", f"/{bucket}/k", b"content", x_amz_content_sha256=wrong)
    assert (status, b"XAmzContentSHA256Mismatch" in answer) == (400, True)


def test_errors_are_documents_and_a_head_has_none(server: Server, bucket: str) -> None:
    status, headers, body = raw(server, "GET", f"/{bucket}/none")
    assert (status, headers["content-type"]) == (404, "application/xml")
    for element in (b"<Code>NoSuchKey</Code>", b"<Key>none</Key>", b"<RequestId>", b"<HostId>"):
        assert element in body
    assert raw(server, "HEAD", f"/{bucket}/none")[::2] == (404, b"")
    assert b"<Code>NotImplemented</Code>" in raw(server, "GET", f"/{bucket}/k?torrent")[2]
    assert b"<Code>InvalidURI</Code>" in raw(server, "GET", f"/{bucket}/%ff")[2]


@pytest.mark.parametrize(
    "host", ["{}.s3.localhost", "{}.localhost", "{}.s3.amazonaws.com", "{}.s3.eu-west-1.amazonaws.com"]
)
def test_the_bucket_may_stand_in_the_host(server: Server, bucket: str, host: str) -> None:
    server.client("s3").put_object(Bucket=bucket, Key="dir/k", Body=b"x")
    assert raw(server, "GET", "/dir/k", Host=host.format(bucket))[::2] == (200, b"x")
    assert b"<Key>dir/k</Key>" in raw(server, "GET", "/?list-type=2", Host=host.format(bucket))[2]


@pytest.mark.parametrize("signature", ["s3v4", "s3"])
def test_presigned_links(server: Server, bucket: str, signature: str) -> None:
    s3 = server.client("s3", signature_version=signature)
    link = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k"})
    with urllib.request.urlopen(urllib.request.Request(link, b"linked", method="PUT")) as answer:
        assert answer.status == 200
    link = s3.generate_presigned_url(
        "get_object", Params={"Bucket": bucket, "Key": "k", "ResponseContentType": "text/x"}
    )
    with urllib.request.urlopen(link) as answer:
        assert (answer.read(), answer.headers["content-type"]) == (b"linked", "text/x")


def test_the_cli(server: Server, bucket: str, tmp_path: Path) -> None:
    for name in ("one.txt", "dir/two.txt", "dir/deep/three.txt"):
        (tmp_path / "up" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "up" / name).write_text(name)
    (tmp_path / "large").write_bytes(os.urandom(9 << 20))
    aws(server, "s3", "mb", f"s3://{bucket}-2")
    aws(server, "s3", "sync", tmp_path / "up", f"s3://{bucket}-2/x")
    aws(server, "s3", "cp", tmp_path / "large", f"s3://{bucket}-2/large")
    aws(server, "s3", "cp", f"s3://{bucket}-2/large", f"s3://{bucket}-2/copy")
    aws(server, "s3", "cp", f"s3://{bucket}-2/copy", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "large").read_bytes()
    assert "PRE deep/" in aws(server, "s3", "ls", f"s3://{bucket}-2/x/dir/")
    aws(server, "s3", "rm", f"s3://{bucket}-2/x/one.txt")
    aws(server, "s3", "sync", f"s3://{bucket}-2/x", tmp_path / "down")
    found = sorted(path.relative_to(tmp_path / "down").as_posix() for path in (tmp_path / "down").rglob("*.txt"))
    assert found == ["dir/deep/three.txt", "dir/two.txt"]
    link = aws(server, "s3", "presign", f"s3://{bucket}-2/x/dir/two.txt").strip()
    with urllib.request.urlopen(link) as answer:
        assert answer.read() == b"dir/two.txt"
    aws(server, "s3", "rb", "--force", f"s3://{bucket}-2")
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(link)


def test_a_function_and_a_layer_from_s3(server: Server, bucket: str) -> None:
    s3, functions = server.client("s3"), server.client()
    code = "import shared\ndef handler(event, context):\n    return shared.VALUE\n"
    s3.put_object(Bucket=bucket, Key="f.zip", Body=zip_files({"index.py": code}))
    s3.put_object(Bucket=bucket, Key="l.zip", Body=zip_files({"python/shared.py": "VALUE = 'from a layer in S3'\n"}))
    layer = functions.publish_layer_version(LayerName="in-s3", Content={"S3Bucket": bucket, "S3Key": "l.zip"})
    functions.create_function(
        FunctionName="in-s3",
        Code={"S3Bucket": bucket, "S3Key": "f.zip"},
        Layers=[layer["LayerVersionArn"]],
        **FUNCTION,
    )
    functions.get_waiter("function_active_v2").wait(FunctionName="in-s3")
    assert invoke(functions, "in-s3")[0] == "from a layer in S3"
    with pytest.raises(ClientError, match="S3 Error Code: NoSuchKey"):
        functions.update_function_code(FunctionName="in-s3", S3Bucket=bucket, S3Key="none.zip")


def test_versions_and_settings_over_the_wire(server: Server, bucket: str) -> None:
    s3 = server.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["VersionId"]
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket=bucket, Key="k", VersionId=marker)
    headers = caught.value.response["ResponseMetadata"]["HTTPHeaders"]
    assert (headers["x-amz-delete-marker"], headers["allow"]) == ("true", "DELETE")
    assert s3.get_object(Bucket=bucket, Key="k", VersionId=first)["Body"].read() == b"1"
    rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "x"}, "Expiration": {"Days": 3}}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == [rule]
    policy = {"Version": "2012-10-17", "Statement": []}
    with pytest.raises(ClientError, match="MalformedPolicy"):
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


def test_xml_that_is_none(server: Server, bucket: str) -> None:
    answers = [raw(server, "PUT", f"/{bucket}?versioning", body)[2] for body in (b"no xml", b"<!DOCTYPE x><x/>")]
    assert all(b"<Code>MalformedXML</Code>" in answer for answer in answers)


def test_a_function_is_told_of_an_object_and_reads_it(server: Server, bucket: str) -> None:
    """The function calls S3 at the endpoint that is set for it."""
    code = """
import os, urllib.parse, urllib.request
def handler(event, context):
    record = event["Records"][0]
    bucket, key = record["s3"]["bucket"]["name"], urllib.parse.unquote_plus(record["s3"]["object"]["key"])
    base = f"{os.environ['AWS_ENDPOINT_URL']}/{bucket}/"
    with urllib.request.urlopen(base + urllib.parse.quote(key)) as answer:
        body = answer.read()
    if record["eventName"] == "ObjectCreated:Put":
        put = urllib.request.Request(base + "out/result", record["eventName"].encode() + b" " + body, method="PUT")
        urllib.request.urlopen(put).read()
"""
    s3, functions = server.client("s3"), server.client()
    package = zip_files({"index.py": code})
    arn = functions.create_function(FunctionName="told", Code={"ZipFile": package}, **FUNCTION)["FunctionArn"]
    functions.get_waiter("function_active_v2").wait(FunctionName="told")
    rules = [{"Name": "prefix", "Value": "in/"}]
    wanted = {"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"], "Filter": {"Key": {"FilterRules": rules}}}
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"LambdaFunctionConfigurations": [wanted]}
    )
    s3.put_object(Bucket=bucket, Key="in/a b", Body=b"content")
    assert eventually(lambda: s3.list_objects_v2(Bucket=bucket, Prefix="out/").get("Contents"), 30)
    assert s3.get_object(Bucket=bucket, Key="out/result")["Body"].read() == b"ObjectCreated:Put content"


@pytest.mark.parametrize("where", ["upstream", "embedded"])
def test_packages_come_from_wherever_s3_is(server: Server, bucket: str, tmp_path: Path, where: str) -> None:
    choice = f"s3={server.endpoint}" if where == "upstream" else "s3=embedded"
    other = Server(tmp_path / "data", "--services", choice, "--isolation", "process")
    try:
        s3, functions = other.client("s3"), other.client()
        if where == "embedded":
            s3.create_bucket(Bucket=bucket)
        package = zip_files({"index.py": "def handler(event, context):\n    return 1\n"})
        s3.put_object(Bucket=bucket, Key="dir/f 1.zip", Body=package)
        code = {"S3Bucket": bucket, "S3Key": "dir/f 1.zip"}
        made = functions.create_function(FunctionName="f", Code=code, **FUNCTION)
        assert made["CodeSize"] == len(package)
        functions.get_waiter("function_active_v2").wait(FunctionName="f")
        with pytest.raises(ClientError, match=r"S3 Error Code: NoSuchKey\. S3 Error Message: The specified key"):
            functions.update_function_code(FunctionName="f", S3Bucket=bucket, S3Key="none")
    finally:
        other.stop()


def test_web_pages_that_a_bucket_names_may_ask_it(server: Server, bucket: str) -> None:
    s3 = server.client("s3")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x" * 100_000)
    page = "http://localhost:3000"
    assert raw(server, "GET", f"/{bucket}/k", Origin=page)[0] == 403
    rule = {
        "AllowedOrigins": [page],
        "AllowedMethods": ["GET", "PUT"],
        "AllowedHeaders": ["x-amz-*"],
        "MaxAgeSeconds": 5,
    }
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    asking = {"Origin": page, "Access_Control_Request_Method": "PUT"}
    status, headers, _ = raw(server, "OPTIONS", f"/{bucket}/k", **asking, Access_Control_Request_Headers="X-Amz-Meta-A")
    assert (status, headers["access-control-allow-origin"], headers["access-control-max-age"]) == (200, page, "5")
    assert raw(server, "OPTIONS", f"/{bucket}/k", **asking, Access_Control_Request_Headers="other")[0] == 403
    for method, body, answer in (("GET", b"", b"x" * 100_000), ("PUT", b"y", b"")):
        status, headers, found = raw(server, method, f"/{bucket}/k", body, Origin=page)
        assert (status, headers["access-control-allow-origin"], found) == (200, page, answer)
    assert raw(server, "DELETE", f"/{bucket}/k", Origin=page)[0] == 403
    assert raw(server, "GET", f"/{bucket}/k", Origin="http://evil.example")[0] == 403


def test_what_a_bucket_allows_does_not_open_lambda(server: Server) -> None:
    """A bucket may be called like the beginning of Lambda's paths."""
    s3, page = server.client("s3"), "http://evil.example"
    s3.create_bucket(Bucket="2015-03-31")
    rule = {"AllowedOrigins": ["*"], "AllowedMethods": ["GET", "PUT", "POST"], "AllowedHeaders": ["*"]}
    s3.put_bucket_cors(Bucket="2015-03-31", CORSConfiguration={"CORSRules": [rule]})
    assert raw(server, "GET", "/2015-03-31/functions/", Origin=page)[0] == 403
    assert raw(server, "GET", "/2015-03-31/other", Origin=page)[0] in (403, 404)
    assert raw(server, "GET", "/_lambent/health", Origin=page)[0] == 403


def test_a_page_of_another_name_is_refused_whatever_buckets_allow(server: Server, bucket: str) -> None:
    rule = {"AllowedOrigins": ["*"], "AllowedMethods": ["GET"]}
    server.client("s3").put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    page = {"Origin": "http://evil.example", "Host": "evil.example"}
    assert raw(server, "GET", f"/{bucket}", **page)[0] == 403


def form(fields: dict[str, str], content: bytes, name: str = "C:\\up\\file.bin") -> tuple[bytes, str]:
    """(body, Content-Type) as browsers send it."""
    boundary = "----boundary7"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{text}\r\n'
        for key, text in fields.items()
    ]
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: x/y\r\n\r\n'
    )
    body = "".join(parts).encode() + head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"


def test_forms(server: Server, bucket: str) -> None:
    s3 = server.client("s3")
    content = os.urandom(3_000_000) + b"\r\n------boundar"
    post = s3.generate_presigned_post(
        bucket,
        "up/${filename}",
        Fields={"x-amz-meta-a": "1", "success_action_status": "201"},
        Conditions=[
            ["starts-with", "$x-amz-meta-a", ""],
            {"success_action_status": "201"},
            ["content-length-range", 5, 4_000_000],
        ],
    )
    assert post["url"].endswith(f"/{bucket}")
    body, kind = form(post["fields"], content)
    status, headers, answer = raw(server, "POST", f"/{bucket}", body, Content_Type=kind)
    assert (status, b"<Key>up/file.bin</Key>" in answer) == (201, True), answer
    found = s3.get_object(Bucket=bucket, Key="up/file.bin")
    assert (found["Body"].read(), found["Metadata"], found["ETag"]) == (content, {"a": "1"}, headers["etag"])
    for fields, data, code in (
        (post["fields"] | {"x-amz-meta-b": "2"}, b"12345", b"AccessDenied"),
        (post["fields"] | {"key": "other"}, b"12345", b"AccessDenied"),
        (post["fields"], b"1234", b"EntityTooSmall"),
        (post["fields"], b"x" * 4_000_001, b"EntityTooLarge"),
        ({"no": "key"}, b"", b"InvalidArgument"),
        ({"key": "k", "policy": "nonsense"}, b"", b"InvalidPolicyDocument"),
    ):
        body, kind = form(fields, data)
        status, _, answer = raw(server, "POST", f"/{bucket}", body, Content_Type=kind)
        assert (status >= 400, b"<Code>" + code + b"</Code>" in answer) == (True, True), answer
    status, _, answer = raw(server, "POST", f"/{bucket}", b"no form", Content_Type="multipart/form-data; boundary=x")
    assert (status, b"MalformedPOSTRequest" in answer) == (400, True)
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["up/file.bin"]
