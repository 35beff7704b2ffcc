"""Environment variables kept secret: sealed in every record, opened for who may see them and for what runs with them.

Two keys: the variables are sealed with a data key of their own (AES-256-GCM, bound to the function), and the data key
is a ciphertext of KMS under the function's `KMSKeyArn` or the account's `aws/lambda` key. So a key that is disabled,
deleted or closed to the function's account closes the variables too, at once: KMS is asked whenever they are shown and
whenever an environment starts, never while one is warm.
"""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from lambent.base.sealing import SealBroken, seal, unseal
from lambent.control.records import Function, FunctionKey, SealedVariables
from lambent.wire.errors import AwsError
from lambent.wire.operations import Caller, Client, Context, Handler, Operations, Parameters

DEFAULT_KEY = "alias/aws/lambda"
NOTHING = SealedVariables("", "", "")
"""No variables: nothing to keep secret, and no key to be asked."""

_KEPT = 4096  # opened data keys that answers are made with
_REFUSALS = {  # KMS's exception: Lambda's, and why
    "AccessDeniedException": ("KMSAccessDeniedException", "KMS access was denied"),
    "DisabledException": ("KMSDisabledException", "the KMS key used is disabled"),
    "KMSInvalidStateException": (
        "KMSInvalidStateException",
        "the state of the KMS key used is not valid for Decrypt",
    ),
    "NotFoundException": ("KMSNotFoundException", "the KMS key was not found"),
}


class KeyRefused(Exception):
    """KMS did not give the key of a function's variables, or they are damaged."""

    def __init__(self, error: AwsError) -> None:
        super().__init__(error.code)
        self._code, self._message = error.code, error.message or ""

    @property
    def _text(self) -> str:
        why = _REFUSALS.get(self._code, _REFUSALS["KMSInvalidStateException"])[1]
        return (
            f"Lambda was unable to decrypt the environment variables because {why}. Please check the function's KMS key"
            f" settings. KMS Exception: {self._code} KMS Message: {self._message}"
        )

    def at_invoke(self) -> AwsError:
        """What the invocation is answered with that would have needed the variables."""
        code = _REFUSALS.get(self._code, _REFUSALS["KMSInvalidStateException"])[0]
        return AwsError(code, self._text, Type="User")

    def shown(self) -> dict[str, Any]:
        """What stands in a configuration in the variables' place."""
        return {"Error": {"ErrorCode": self._code, "Message": self._text}}


class Secrets:
    """Belongs to one event loop."""

    def __init__(self, client: Client) -> None:
        """`client` reaches KMS."""
        self._client = client
        self._opened: OrderedDict[str, bytes] = OrderedDict()

    async def seal(self, key: FunctionKey, variables: Mapping[str, str], kms_key: str | None) -> SealedVariables:
        """Raises InvalidParameterValueException when `kms_key` (an ARN, None for the default) cannot be used."""
        if not variables and kms_key is None:
            return NOTHING
        asked = {"KeyId": kms_key or DEFAULT_KEY, "KeySpec": "AES_256", "EncryptionContext": _bound(key)}
        try:
            answer = await self._client.call("kms", "GenerateDataKey", asked, _caller(key))
        except AwsError as error:
            message = (
                "Lambda was unable to configure access to your environment variables because the KMS key is invalid for"
                f" CreateGrant. Please check your KMS key settings. KMS Exception: {error.code} KMS Message:"
                f" {error.message}"
            )
            raise AwsError("InvalidParameterValueException", message, Type="User") from None
        if not variables:
            return NOTHING
        text = seal(answer["Plaintext"], orjson.dumps(dict(variables)), key.arn().encode())
        wrapped = base64.b64encode(answer["CiphertextBlob"]).decode()
        return SealedVariables(answer["KeyId"], wrapped, base64.b64encode(text).decode())

    async def choose(
        self, key: FunctionKey, parameters: Parameters, current: Function | None
    ) -> SealedVariables | None:
        """The variables that a request gives a function, sealed; None when it leaves them as they are.

        The same ones again, under the same key, are left too: nothing has changed then. Another key seals anew.
        """
        if "Environment" not in parameters and "KMSKeyArn" not in parameters:
            return None
        before = current.extras.get("KMSKeyArn") if current is not None else None
        kms_key = parameters["KMSKeyArn"] or None if "KMSKeyArn" in parameters else before
        known: Mapping[str, str] | None = None
        if current is not None and current.environment is not None:
            try:
                known = await self.open(current)
            except AwsError:
                if "Environment" not in parameters:
                    raise
        if "Environment" not in parameters:
            sealed = await self.seal(key, known or {}, kms_key)
            return None if known is None or before == kms_key else sealed
        variables = parameters["Environment"].get("Variables", {})
        sealed = await self.seal(key, variables, kms_key)
        return None if known == variables and before == kms_key else sealed

    async def open(self, function: Function) -> Mapping[str, str]:
        """The variables of a function. Raises one of the four KMS exceptions of Invoke."""
        if function.environment is None:
            return {}
        try:
            return await self._open(function.key, function.environment, set())
        except KeyRefused as refusal:
            raise refusal.at_invoke() from None

    async def _open(self, key: FunctionKey, sealed: SealedVariables, asked: set[str]) -> Mapping[str, str]:
        """`asked` are the KMS keys that have just been found to be open: for them a data key once seen will do."""
        if not sealed.key:
            return {}
        data_key = self._opened.get(sealed.data_key) if sealed.key in asked else None
        if data_key is None:
            data_key = await self._decrypt(key, sealed)
            asked.add(sealed.key)
        try:
            text = unseal(data_key, base64.b64decode(sealed.text), key.arn().encode())
        except SealBroken:
            raise KeyRefused(AwsError("InvalidCiphertextException", "The stored variables are damaged.")) from None
        variables: dict[str, str] = orjson.loads(text)
        return variables

    async def _decrypt(self, key: FunctionKey, sealed: SealedVariables) -> bytes:
        blob = base64.b64decode(sealed.data_key)
        asked = {"CiphertextBlob": blob, "KeyId": sealed.key, "EncryptionContext": _bound(key)}
        try:
            answer = await self._client.call("kms", "Decrypt", asked, _caller(key))
        except AwsError as error:
            self._opened.pop(sealed.data_key, None)
            raise KeyRefused(error) from None
        data_key: bytes = answer["Plaintext"]
        self._opened[sealed.data_key] = data_key
        self._opened.move_to_end(sealed.data_key)
        while len(self._opened) > _KEPT:
            self._opened.popitem(last=False)
        return data_key

    async def reveal(self, answer: Mapping[str, Any]) -> Mapping[str, Any]:
        """An answer with the variables in the place of what the records hold, or with the reason why not."""
        asked: set[str] = set()
        for shown in _configurations(answer):
            sealed = shown.get("Environment")
            if isinstance(sealed, SealedVariables):
                try:
                    shown["Environment"] = {"Variables": await self._open(_owner(shown), sealed, asked)}
                except KeyRefused as refusal:
                    shown["Environment"] = refusal.shown()
        return answer


class Revealing(Operations):
    """Where the handlers register whose answers hold configurations of functions."""

    def __init__(self, operations: Operations, secrets: Secrets) -> None:
        """They are registered with `operations`, their answers revealed by `secrets`."""
        super().__init__()
        self._operations = operations
        self._secrets = secrets

    def register(self, service: str, operation: str, handler: Handler) -> None:
        async def revealing(context: Context, parameters: Parameters) -> Mapping[str, Any]:
            return await self._secrets.reveal(await handler(context, parameters))

        self._operations.register(service, operation, revealing)


def _configurations(answer: Mapping[str, Any]) -> Iterator[Any]:
    yield answer
    if isinstance(answer.get("Configuration"), dict):
        yield answer["Configuration"]
    for name in ("Functions", "Versions"):
        yield from answer.get(name, ())


def _owner(shown: Mapping[str, Any]) -> FunctionKey:
    _, _, _, region, account, _, name, *_ = shown["FunctionArn"].split(":")
    return FunctionKey(account, region, name)


def _bound(key: FunctionKey) -> dict[str, str]:
    """AWS's encryption context for the variables of a function."""
    return {"aws:lambda:FunctionArn": key.arn()}


def _caller(key: FunctionKey) -> Caller:
    return Caller(key.account, key.region, via="lambda.amazonaws.com")
