"""IAM's errors, in its words."""

from __future__ import annotations

from lambent.services.iam import documents
from lambent.services.iam.records import Kind
from lambent.wire.errors import AwsError


def no_entity(message: str) -> AwsError:
    return AwsError("NoSuchEntityException", message)


def no_identity(kind: Kind, name: str) -> AwsError:
    return no_entity(f"The {kind} with name {name} cannot be found.")


def no_policy(arn: str) -> AwsError:
    return no_entity(f"Policy {arn} was not found.")


def not_attachable(arn: str) -> AwsError:
    return no_entity(f"Policy {arn} does not exist or is not attachable.")


def exists(message: str) -> AwsError:
    return AwsError("EntityAlreadyExistsException", message)


def conflict(message: str) -> AwsError:
    return AwsError("DeleteConflictException", message)


def limit(message: str) -> AwsError:
    return AwsError("LimitExceededException", message)


def invalid_input(message: str) -> AwsError:
    return AwsError("InvalidInputException", message)


def validation(message: str) -> AwsError:
    return AwsError("ValidationError", message, status=400)


def check_document(text: str, kind: documents.Kind) -> None:
    """Raises MalformedPolicyDocument with what is wrong."""
    try:
        documents.parse(text, kind)
    except documents.MalformedPolicy as problem:
        raise AwsError("MalformedPolicyDocumentException", str(problem)) from None
