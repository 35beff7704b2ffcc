"""Uses each of the packages it is zipped with."""

import io

import orjson
import pydantic
import requests
from PIL import Image


class Order(pydantic.BaseModel):
    number: int
    items: list[str]


def lambda_handler(event, context):
    order = Order.model_validate_json(orjson.dumps(event["order"]))
    picture = Image.new("RGB", (64, 32), "navy")
    buffer = io.BytesIO()
    picture.resize((16, 8)).save(buffer, "PNG")
    prepared = requests.Request("GET", "https://example.org/", params={"q": "ü"}).prepare()
    try:
        requests.get("http://127.0.0.1:1/", timeout=1)
        connection = "made"
    except requests.ConnectionError:
        connection = "refused"
    try:
        Order(number="no", items=[])
        error = None
    except pydantic.ValidationError as problem:
        error = problem.error_count()
    return {
        "order": order.model_dump(),
        "png": buffer.getvalue()[:8].hex(),
        "size": Image.open(buffer).size,
        "url": prepared.url,
        "connection": connection,
        "errors": error,
        "files": [module.__file__.split("/")[2] for module in (orjson, pydantic, requests)],
    }
