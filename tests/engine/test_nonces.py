"""Each answer is its own request's: many invocations at once, of all sizes, among crashes and timeouts."""

from __future__ import annotations

import base64
import concurrent.futures
import hashlib
import json
import random
from collections import Counter
from typing import Any

from support import Server, create

CODE = """
import hashlib, os, time
def handler(event, context):
    nonce, action = event["nonce"], event["action"]
    print("nonce", nonce)
    if action == "crash":
        os._exit(3)
    if action == "hang":
        time.sleep(60)
    if action == "fail":
        raise ValueError(nonce)
    digest = hashlib.sha256(event["filling"].encode()).hexdigest()
    return {"nonce": nonce, "digest": digest, "filling": nonce[0] * event["back"], "id": context.aws_request_id}
"""
LARGEST = 5_900_000  # characters that fit a request and an answer of 6 MB
INVOCATIONS = 400
AT_ONCE = 24


def test_no_answer_is_lost_or_crossed(server: Server, lambda_client: Any, name: str) -> None:
    names = [f"{name[:40]}-{number}" for number in range(2)]
    for one in names:
        create(lambda_client, one, CODE, Timeout=2, MemorySize=256)
    client = server.client(max_pool_connections=AT_ONCE)
    seeds = range(INVOCATIONS)

    def run(seed: int) -> str:
        return one_invocation(client, random.Random(seed), names)

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as threads:
        actions = Counter(threads.map(run, seeds))
    assert set(actions) == {"answer", "crash", "hang", "fail", "stream"}


def one_invocation(client: Any, chance: random.Random, names: list[str]) -> str:
    """What was asked of the function; the answer has been checked."""
    action = chance.choices(["answer", "stream", "fail", "crash", "hang"], [80, 20, 10, 3, 1])[0]
    size, back = (int(LARGEST * chance.random() ** 40) for _ in range(2))  # mostly small, some as large as may be
    nonce = f"{chance.randrange(16):x}{chance.getrandbits(120):030x}"
    filling = nonce[0] * size
    event = {"nonce": nonce, "action": action, "filling": filling, "back": back}
    request = {"FunctionName": chance.choice(names), "Payload": json.dumps(event), "LogType": "Tail"}
    if action == "stream":
        response = client.invoke_with_response_stream(**request)
        *chunks, complete = response["EventStream"]
        payload = b"".join(chunk["PayloadChunk"]["Payload"] for chunk in chunks)
        tail, error = complete["InvokeComplete"]["LogResult"], complete["InvokeComplete"].get("ErrorCode")
    else:
        response = client.invoke(**request)
        payload, tail, error = response["Payload"].read(), response["LogResult"], response.get("FunctionError")
    answer = json.loads(payload)
    request_id = response["ResponseMetadata"]["RequestId"]
    log = base64.b64decode(tail).decode()
    assert f"REPORT RequestId: {request_id}" in log
    assert f"nonce {nonce}" in log
    assert log.count("nonce ") == 1
    if action in ("answer", "stream"):
        digest = hashlib.sha256(filling.encode()).hexdigest()
        assert answer == {"nonce": nonce, "digest": digest, "filling": nonce[0] * back, "id": request_id}
        assert error is None
    else:
        assert error == "Unhandled"
        told = {"fail": nonce, "crash": request_id, "hang": request_id}[action]
        assert told in answer["errorMessage"]
    return action
