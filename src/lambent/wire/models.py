"""AWS's own descriptions of its services: botocore's models, found by the names that requests carry.

Loading a model costs tens of milliseconds and megabytes, so each is loaded by the first request that needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, cached_property
from typing import Any

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel, Shape

REST_JSON, REST_XML, QUERY, EC2, JSON, CBOR = "rest-json", "rest-xml", "query", "ec2", "json", "smithy-rpc-v2-cbor"

# Where the name in the credential scope is not the name of the model, or stands for several.
_SIGNING_NAMES = {
    "access-analyzer": ("accessanalyzer",),
    "airflow": ("mwaa",),
    "aoss": ("opensearchserverless",),
    "apigateway": ("apigateway", "apigatewayv2"),
    "appconfig": ("appconfig", "appconfigdata"),
    "aps": ("amp",),
    "bedrock": ("bedrock", "bedrock-runtime", "bedrock-agent", "bedrock-agent-runtime"),
    "cassandra": ("keyspaces", "keyspacesstreams"),
    "cloudcontrolapi": ("cloudcontrol",),
    "dynamodb": ("dynamodb", "dynamodbstreams"),
    "elasticfilesystem": ("efs",),
    "elasticloadbalancing": ("elbv2", "elb"),
    "elasticmapreduce": ("emr",),
    "email": ("ses",),
    "es": ("opensearch", "es"),
    "iotdata": ("iot-data",),
    "kinesisanalytics": ("kinesisanalyticsv2", "kinesisanalytics"),
    "lambda": ("lambda", "lambda-core", "lambda-web", "lambda-microvms"),
    "mobiletargeting": ("pinpoint",),
    "monitoring": ("cloudwatch",),
    "servicequotas": ("service-quotas",),
    "ses": ("sesv2", "ses"),
    "sso": ("sso-admin",),
    "states": ("stepfunctions",),
    "tagging": ("resourcegroupstaggingapi",),
    "timestream": ("timestream-query", "timestream-write"),
}


@cache
def _loader() -> Loader:
    return Loader()


@cache
def _known() -> frozenset[str]:
    return frozenset(_loader().list_available_services("service-2"))


def names() -> frozenset[str]:
    """Every service of AWS, by botocore's names."""
    return _known()


def candidates(signing_name: str) -> tuple[str, ...]:
    """The models that a credential scope of `signing_name` can mean; empty when AWS has no such service."""
    names = _SIGNING_NAMES.get(signing_name, (signing_name,))
    return tuple(name for name in names if name in _known())


@cache
def service(name: str) -> Service:
    """The service called `name` in botocore ("lambda"). Loads its model: KeyError when there is none."""
    if name not in _known():
        raise KeyError(name)
    return Service(name, ServiceModel(_loader().load_service_model(name, "service-2"), name))


class Service:
    """One service model and what is worth computing of it once."""

    def __init__(self, name: str, model: ServiceModel) -> None:
        self.name = name
        self.model = model
        self.metadata: Mapping[str, Any] = model.metadata
        self.protocols: tuple[str, ...] = tuple(self.metadata.get("protocols") or (self.metadata["protocol"],))
        self.protocol: str = self.metadata["protocol"]
        self.target_prefix: str | None = self.metadata.get("targetPrefix")
        self._operations: dict[str, OperationModel] = {}

    @cached_property
    def operation_names(self) -> frozenset[str]:
        return frozenset(self.model.operation_names)

    def operation(self, name: str) -> OperationModel:
        """KeyError when the service has no such operation."""
        if name not in self._operations:
            if name not in self.operation_names:
                raise KeyError(name)
            self._operations[name] = self.model.operation_model(name)
        return self._operations[name]

    @cached_property
    def _errors(self) -> Mapping[str, Shape]:
        return {shape.error_code: shape for shape in self.model.error_shapes} | {
            shape.name: shape for shape in self.model.error_shapes
        }

    def error(self, code: str) -> Shape | None:
        """The shape of the error called `code`, where the model has one."""
        return self._errors.get(code)
