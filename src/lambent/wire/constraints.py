"""Where the service checks otherwise than its model says, as its recorded answers show."""

from __future__ import annotations

from botocore.model import Shape

# (operation, member) whose constraints the service itself checks, in other words than the generic ones.
_ELSEWHERE = {
    ("CreateFunction", "runtime"),
    ("UpdateFunctionConfiguration", "runtime"),
}

# Enumerations that the service prints in an order of its own.
_ORDERS = {
    "RecursiveLoop": ("Terminate", "Allow"),
    "InvokeMode": ("RESPONSE_STREAM", "BUFFERED"),
}


def is_checked_elsewhere(operation: str, path: str) -> bool:
    """Whether the control plane checks the member at `path` ("memorySize") itself."""
    return (operation, path) in _ELSEWHERE


def enum_order(shape: Shape) -> list[str]:
    """The values of an enumeration in the order in which AWS prints them."""
    order = _ORDERS.get(shape.name, ())
    values: list[str] = shape.metadata["enum"]
    return [value for value in order if value in values] + [value for value in values if value not in order]
