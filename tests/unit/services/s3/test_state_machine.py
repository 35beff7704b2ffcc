"""Any sequence of requests, against a model that is a dictionary of lists."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lambent.wire.errors import AwsError
from unit.services.s3.lab import S3Lab

KEYS = st.sampled_from(["a", "a/b", "../x", "é\x00"])
BODIES = st.sampled_from([b"", b"one", b"two", b"x" * 70_000])
Version = tuple[str, bytes | None]  # (id, content; None for a delete marker)


class Objects(RuleBasedStateMachine):
    """The newest version of a key comes last in its list."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.root = Path(tempfile.mkdtemp(prefix="s3-machine-"))
        self.s3 = S3Lab(self.root)
        self.run(self.s3.start())
        self.run(self.s3.bucket())
        self.versioning = ""
        self.versions: dict[str, list[Version]] = {}
        self.uploads: dict[str, tuple[str, dict[int, tuple[str, bytes]]]] = {}

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.run(self.s3.stop())
        self.loop.close()
        shutil.rmtree(self.root)

    def add(self, key: str, version: str, content: bytes | None) -> None:
        held = self.versions.setdefault(key, [])
        if version == "null":
            held[:] = [one for one in held if one[0] != "null"]
        held.append((version, content))

    @initialize(status=st.sampled_from(["", "Enabled"]))
    def begin(self, status: str) -> None:
        if status:
            self.keep(status)

    @rule(status=st.sampled_from(["Enabled", "Suspended"]))
    def keep(self, status: str) -> None:
        self.run(self.s3.version(status))
        self.versioning = status

    @rule(key=KEYS, body=BODIES)
    def put(self, key: str, body: bytes) -> None:
        answer = self.run(self.s3.put(key, body))
        assert ("VersionId" in answer) == bool(self.versioning)
        self.add(key, answer.get("VersionId", "null"), body)

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        answer = self.run(self.s3.call("DeleteObject", Bucket="bucket", Key=key))
        if self.versioning:
            self.add(key, answer["VersionId"], None)
        else:
            self.versions[key] = [one for one in self.versions.get(key, []) if one[0] != "null"]

    @precondition(lambda self: any(self.versions.values()) and self.versioning)
    @rule(data=st.data())
    def delete_a_version(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(key for key, held in self.versions.items() if held)))
        chosen = data.draw(st.sampled_from(self.versions[key]))
        self.run(self.s3.call("DeleteObject", Bucket="bucket", Key=key, VersionId=chosen[0]))
        self.versions[key].remove(chosen)

    @rule(source=KEYS, key=KEYS)
    def copy(self, source: str, key: str) -> None:
        held = self.versions.get(source)
        members = {"Bucket": "bucket", "Key": key, "CopySource": f"bucket/{source}", "MetadataDirective": "REPLACE"}
        try:
            answer = self.run(self.s3.call("CopyObject", **members))
        except AwsError as error:
            assert error.code == "NoSuchKey"
            assert not held or held[-1][1] is None
            return
        assert held
        self.add(key, answer.get("VersionId", "null"), held[-1][1])

    @rule(key=KEYS)
    def begin_upload(self, key: str) -> None:
        answer = self.run(self.s3.call("CreateMultipartUpload", Bucket="bucket", Key=key))
        self.uploads[answer["UploadId"]] = (key, {})

    @precondition(lambda self: self.uploads)
    @rule(data=st.data(), number=st.integers(1, 3), body=BODIES)
    def upload_part(self, data: st.DataObject, number: int, body: bytes) -> None:
        upload = data.draw(st.sampled_from(sorted(self.uploads)))
        key, parts = self.uploads[upload]
        named = {"Bucket": "bucket", "Key": key, "UploadId": upload}
        answer = self.run(self.s3.call("UploadPart", **named, PartNumber=number, Body=body))
        parts[number] = (answer["ETag"], body)

    @precondition(lambda self: any(parts for _, parts in self.uploads.values()))
    @rule(data=st.data())
    def complete(self, data: st.DataObject) -> None:
        """With one of its parts: others than the last must be large."""
        upload = data.draw(st.sampled_from(sorted(one for one, (_, parts) in self.uploads.items() if parts)))
        key, parts = self.uploads.pop(upload)
        number = data.draw(st.sampled_from(sorted(parts)))
        etag, body = parts[number]
        named = {"Bucket": "bucket", "Key": key, "UploadId": upload}
        asked = {"Parts": [{"PartNumber": number, "ETag": etag}]}
        answer = self.run(self.s3.call("CompleteMultipartUpload", **named, MultipartUpload=asked))
        self.add(key, answer.get("VersionId", "null"), body)

    @precondition(lambda self: self.uploads)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        upload = data.draw(st.sampled_from(sorted(self.uploads)))
        key, _ = self.uploads.pop(upload)
        self.run(self.s3.call("AbortMultipartUpload", Bucket="bucket", Key=key, UploadId=upload))

    @rule()
    def restart(self) -> None:
        self.run(self.s3.restart())

    @invariant()
    def what_is_there_is_what_the_model_has(self) -> None:
        current = {key: held[-1][1] for key, held in self.versions.items() if held and held[-1][1] is not None}
        assert self.run(self.s3.keys()) == sorted(current, key=str.encode)
        for key, content in current.items():
            assert self.run(self.s3.body(key)) == content
        listed = self.run(self.s3.call("ListObjectVersions", Bucket="bucket"))
        found = [*listed.get("Versions", ()), *listed.get("DeleteMarkers", ())]
        expected = {
            (key, version, place == len(held) - 1)
            for key, held in self.versions.items()
            for place, (version, _) in enumerate(held)
        }
        assert {(one["Key"], one["VersionId"], one["IsLatest"]) for one in found} == expected

    @invariant()
    def no_file_is_left_over(self) -> None:
        contents = [content for held in self.versions.values() for _, content in held if content]
        parts = [body for _, (_, parts) in self.uploads.items() for _, body in parts.values() if body]
        self.run(self._unlinked())
        assert len(self.s3.files()) == len(contents) + len(parts)

    async def _unlinked(self) -> None:
        while self.s3.service.contents._unlinking:
            await asyncio.sleep(0)


TestObjects = Objects.TestCase
TestObjects.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
