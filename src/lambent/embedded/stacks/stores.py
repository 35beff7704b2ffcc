"""AWS::S3::…, AWS::Logs::…, AWS::KMS::…, AWS::ECR::…; and what moto's CloudFormation lacks of its own services."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from lambent.embedded.stacks.fitting import Unfit, fit
from lambent.embedded.stacks.resource import Resource, tags


def _text(document: Any) -> str:
    return document if isinstance(document, str) else json.dumps(document)


# S3: a bucket's properties are operations of their own


def _encryption(value: Mapping[str, Any]) -> dict[str, Any]:
    rules = []
    for rule in value["ServerSideEncryptionConfiguration"]:
        chosen = dict(rule)
        chosen["ApplyServerSideEncryptionByDefault"] = chosen.pop("ServerSideEncryptionByDefault", {})
        rules.append(chosen)
    return {"Rules": rules}


def _lifecycle(value: Mapping[str, Any]) -> dict[str, Any]:
    rules = []
    for rule in value["Rules"]:
        made: dict[str, Any] = {
            "ID": rule.get("Id"),
            "Status": rule["Status"],
            "Filter": {"Prefix": rule.get("Prefix", "")},
        }
        days, date = rule.get("ExpirationInDays"), rule.get("ExpirationDate")
        if days or date or rule.get("ExpiredObjectDeleteMarker"):
            made["Expiration"] = {
                "Days": days,
                "Date": date,
                "ExpiredObjectDeleteMarker": rule.get("ExpiredObjectDeleteMarker"),
            }
        noncurrent = rule.get("NoncurrentVersionExpiration") or {}
        if days := noncurrent.get("NoncurrentDays") or rule.get("NoncurrentVersionExpirationInDays"):
            made["NoncurrentVersionExpiration"] = {"NoncurrentDays": days}
        if abort := rule.get("AbortIncompleteMultipartUpload"):
            made["AbortIncompleteMultipartUpload"] = abort
        rules.append(made)
    return {"Rules": rules}


def _cors(value: Mapping[str, Any]) -> dict[str, Any]:
    names = {"MaxAge": "MaxAgeSeconds", "Id": "ID", "ExposedHeaders": "ExposeHeaders"}
    return {"CORSRules": [{names.get(name, name): item for name, item in rule.items()} for rule in value["CorsRules"]]}


def _notifications(value: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    kinds = (("Lambda", "LambdaFunction", "Function"), ("Queue", "Queue", "Queue"), ("Topic", "Topic", "Topic"))
    for name, target, key in kinds:
        entries = []
        for each in value.get(f"{name}Configurations") or []:
            entry: dict[str, Any] = {f"{target}Arn": each[key], "Events": [each["Event"]]}
            if rules := ((each.get("Filter") or {}).get("S3Key") or {}).get("Rules"):
                entry["Filter"] = {"Key": {"FilterRules": rules}}
            entries.append(entry)
        if entries:
            made[f"{target}Configurations"] = entries
    if (value.get("EventBridgeConfiguration") or {}).get("EventBridgeEnabled"):
        made["EventBridgeConfiguration"] = {}
    return made


def _same(value: Any) -> Any:
    return value


_SETTINGS: dict[str, tuple[str, str, Callable[[Any], Any]]] = {
    "VersioningConfiguration": ("PutBucketVersioning", "VersioningConfiguration", _same),
    "BucketEncryption": ("PutBucketEncryption", "ServerSideEncryptionConfiguration", _encryption),
    "PublicAccessBlockConfiguration": ("PutPublicAccessBlock", "PublicAccessBlockConfiguration", _same),
    "OwnershipControls": ("PutBucketOwnershipControls", "OwnershipControls", _same),
    "LifecycleConfiguration": ("PutBucketLifecycleConfiguration", "LifecycleConfiguration", _lifecycle),
    "CorsConfiguration": ("PutBucketCors", "CORSConfiguration", _cors),
    "NotificationConfiguration": ("PutBucketNotificationConfiguration", "NotificationConfiguration", _notifications),
    "Tags": ("PutBucketTagging", "Tagging", lambda value: {"TagSet": value}),
}


class Bucket(Resource):
    TYPE, SERVICE, NAME = "AWS::S3::Bucket", "s3", "BucketName"

    def create(self, name: str) -> None:
        place = {} if self.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": self.region}}
        self.ask("CreateBucket", Bucket=name, **place)
        self.id = name
        host = f"{name}.s3.amazonaws.com"
        self.attributes = {
            "Arn": f"arn:aws:s3:::{name}",
            "DomainName": host,
            "DualStackDomainName": f"{name}.s3.dualstack.{self.region}.amazonaws.com",
            "RegionalDomainName": f"{name}.s3.{self.region}.amazonaws.com",
            "WebsiteURL": f"http://{name}.s3-website-{self.region}.amazonaws.com",
        }
        try:
            self.update({})
        except BaseException:
            self.remove()
            raise

    def update(self, before: Mapping[str, Any]) -> None:
        known = {*_SETTINGS, "BucketName", "AccessControl"}
        if unknown := sorted(set(self.properties) - known):
            raise Unfit(f"the property {unknown[0]} is not known here")
        for name, (operation, member, shaped) in _SETTINGS.items():
            if self.changed(before, name) and self.properties.get(name) is not None:
                shape = self.client.meta.service_model.operation_model(operation).input_shape.members[member]
                self.ask(
                    operation, Bucket=self.id, **{member: fit(shape, _present(shaped(self.properties[name])), name)}
                )

    def remove(self) -> None:
        self.drop("DeleteBucket", Bucket=self.id)


def _present(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _present(item) for name, item in value.items() if item is not None}
    return [_present(item) for item in value] if isinstance(value, list) else value


class BucketPolicy(Resource):
    TYPE, SERVICE = "AWS::S3::BucketPolicy", "s3"
    FIXED = frozenset({"Bucket"})

    def create(self, name: str) -> None:
        self.id = self.properties["Bucket"]
        self.update({})

    def update(self, before: Mapping[str, Any]) -> None:
        self.ask("PutBucketPolicy", Bucket=self.id, Policy=_text(self.properties["PolicyDocument"]))

    def remove(self) -> None:
        self.drop("DeleteBucketPolicy", Bucket=self.id)


class LogGroup(Resource):
    TYPE, SERVICE, NAME = "AWS::Logs::LogGroup", "logs", "LogGroupName"

    def create(self, name: str) -> None:
        own = {"tags": tags(self.properties)} if self.properties.get("Tags") else {}
        if key := self.properties.get("KmsKeyId"):
            own["kmsKeyId"] = key
        self.ask("CreateLogGroup", logGroupName=name, **own)
        self.id = name
        self.attributes = {"Arn": f"arn:aws:logs:{self.region}:{self.account}:log-group:{name}:*"}
        self.update({})

    def update(self, before: Mapping[str, Any]) -> None:
        if not self.changed(before, "RetentionInDays"):
            return
        if days := self.properties.get("RetentionInDays"):
            self.ask("PutRetentionPolicy", logGroupName=self.id, retentionInDays=int(days))
        elif before:
            self.ask("DeleteRetentionPolicy", logGroupName=self.id)

    def remove(self) -> None:
        self.drop("DeleteLogGroup", logGroupName=self.id)


class SubscriptionFilter(Resource):
    TYPE, SERVICE = "AWS::Logs::SubscriptionFilter", "logs"
    FIXED = frozenset({"LogGroupName", "FilterName"})

    def create(self, name: str) -> None:
        self.id = self.properties.get("FilterName") or name
        self.update({})

    def update(self, before: Mapping[str, Any]) -> None:
        self.call("PutSubscriptionFilter", filterName=self.id)

    def remove(self) -> None:
        self.drop("DeleteSubscriptionFilter", logGroupName=self.properties["LogGroupName"], filterName=self.id)


class Key(Resource):
    TYPE, SERVICE = "AWS::KMS::Key", "kms"
    FIXED = frozenset({"KeySpec", "KeyUsage", "MultiRegion", "Origin"})

    def create(self, name: str) -> None:
        own = {"KeyPolicy", "Enabled", "EnableKeyRotation", "PendingWindowInDays", "RotationPeriodInDays", "Tags"}
        further: dict[str, Any] = {}
        if "KeyPolicy" in self.properties:
            further["Policy"] = _text(self.properties["KeyPolicy"])
        if self.properties.get("Tags"):
            further["Tags"] = [{"TagKey": key, "TagValue": value} for key, value in tags(self.properties).items()]
        made = self.call("CreateKey", *own, **further)["KeyMetadata"]
        self.id = made["KeyId"]
        self.attributes = {"Arn": made["Arn"], "KeyId": made["KeyId"]}
        self.update({"KeyPolicy": self.properties.get("KeyPolicy"), "Description": self.properties.get("Description")})

    def update(self, before: Mapping[str, Any]) -> None:
        if self.changed(before, "EnableKeyRotation") and (
            before.get("EnableKeyRotation") or _is(self.properties, "EnableKeyRotation")
        ):
            wanted = "EnableKeyRotation" if _is(self.properties, "EnableKeyRotation") else "DisableKeyRotation"
            self.ask(wanted, KeyId=self.id)
        if self.changed(before, "Enabled") and "Enabled" in self.properties:
            self.ask("EnableKey" if _is(self.properties, "Enabled") else "DisableKey", KeyId=self.id)
        if self.changed(before, "KeyPolicy") and "KeyPolicy" in self.properties:
            self.ask("PutKeyPolicy", KeyId=self.id, PolicyName="default", Policy=_text(self.properties["KeyPolicy"]))
        if self.changed(before, "Description"):
            self.ask("UpdateKeyDescription", KeyId=self.id, Description=self.properties.get("Description", ""))

    def remove(self) -> None:
        days = int(self.properties.get("PendingWindowInDays", 30))
        self.drop("ScheduleKeyDeletion", KeyId=self.id, PendingWindowInDays=days)


def _is(properties: Mapping[str, Any], name: str) -> bool:
    return str(properties.get(name, "")).lower() == "true"


class KeyAlias(Resource):
    TYPE, SERVICE = "AWS::KMS::Alias", "kms"
    FIXED = frozenset({"AliasName"})

    def create(self, name: str) -> None:
        self.call("CreateAlias")
        self.id = self.properties["AliasName"]

    def update(self, before: Mapping[str, Any]) -> None:
        self.call("UpdateAlias")

    def remove(self) -> None:
        self.drop("DeleteAlias", AliasName=self.id)


class Repository(Resource):
    TYPE, SERVICE, NAME = "AWS::ECR::Repository", "ecr", "RepositoryName"

    def create(self, name: str) -> None:
        own = ("LifecyclePolicy", "RepositoryPolicyText", "EmptyOnDelete")
        made = self.call("CreateRepository", *own, repositoryName=name.lower())["repository"]
        self.id = made["repositoryName"]
        self.attributes = {"Arn": made["repositoryArn"], "RepositoryUri": made["repositoryUri"]}
        self._policies({})

    def update(self, before: Mapping[str, Any]) -> None:
        if self.changed(before, "ImageTagMutability") and (wanted := self.properties.get("ImageTagMutability")):
            self.ask("PutImageTagMutability", repositoryName=self.id, imageTagMutability=wanted)
        self._policies(before)

    def _policies(self, before: Mapping[str, Any]) -> None:
        if self.changed(before, "LifecyclePolicy") and (policy := self.properties.get("LifecyclePolicy")):
            text = policy["LifecyclePolicyText"]
            self.ask("PutLifecyclePolicy", repositoryName=self.id, lifecyclePolicyText=text)
        if self.changed(before, "RepositoryPolicyText") and (policy := self.properties.get("RepositoryPolicyText")):
            self.ask("SetRepositoryPolicy", repositoryName=self.id, policyText=_text(policy))

    def remove(self) -> None:
        self.drop("DeleteRepository", repositoryName=self.id, force=_is(self.properties, "EmptyOnDelete"))


class Subscription(Resource):
    TYPE, SERVICE = "AWS::SNS::Subscription", "sns"
    FIXED = frozenset({"TopicArn", "Protocol", "Endpoint"})
    _PLAIN = ("TopicArn", "Protocol", "Endpoint", "Region")

    def create(self, name: str) -> None:
        place = {key: self.properties[key] for key in ("TopicArn", "Protocol", "Endpoint") if key in self.properties}
        self.id = self.ask("Subscribe", **place, ReturnSubscriptionArn=True)["SubscriptionArn"]
        self.attributes = {"Arn": self.id}
        self.update({})

    def update(self, before: Mapping[str, Any]) -> None:
        for name, value in self.properties.items():
            if name not in self._PLAIN and self.changed(before, name):
                text = _text(value) if not isinstance(value, bool) else str(value).lower()
                self.ask("SetSubscriptionAttributes", SubscriptionArn=self.id, AttributeName=name, AttributeValue=text)

    def remove(self) -> None:
        self.drop("Unsubscribe", SubscriptionArn=self.id)


class TopicPolicy(Resource):
    TYPE, SERVICE = "AWS::SNS::TopicPolicy", "sns"

    def create(self, name: str) -> None:
        self.id = name
        self.update({})

    def update(self, before: Mapping[str, Any]) -> None:
        document = _text(self.properties["PolicyDocument"])
        for topic in self.properties["Topics"]:
            self.ask("SetTopicAttributes", TopicArn=topic, AttributeName="Policy", AttributeValue=document)


class QueuePolicy(Resource):
    TYPE, SERVICE = "AWS::SQS::QueuePolicy", "sqs"

    def create(self, name: str) -> None:
        self.id = name
        self.update({})

    def update(self, before: Mapping[str, Any]) -> None:
        for queue in self.properties["Queues"]:
            self.ask(
                "SetQueueAttributes", QueueUrl=queue, Attributes={"Policy": _text(self.properties["PolicyDocument"])}
            )

    def remove(self) -> None:
        for queue in self.properties["Queues"]:
            self.drop("SetQueueAttributes", QueueUrl=queue, Attributes={"Policy": ""})


class Secret(Resource):
    TYPE, SERVICE, NAME = "AWS::SecretsManager::Secret", "secretsmanager", "Name"

    def create(self, name: str) -> None:
        own = {
            key: self.properties[key] for key in ("Description", "KmsKeyId", "SecretString") if key in self.properties
        }
        if (generate := self.properties.get("GenerateSecretString")) is not None:
            own["SecretString"] = self._generate(generate)
        self.id = self.ask("CreateSecret", Name=name, **own)["ARN"]
        self.attributes = {"Id": self.id}

    def _generate(self, wanted: Mapping[str, Any]) -> str:
        place = ("SecretStringTemplate", "GenerateStringKey")
        model = self.client.meta.service_model.operation_model("GetRandomPassword").input_shape
        made = self.ask("GetRandomPassword", **fit(model, {k: v for k, v in wanted.items() if k not in place}))
        if "SecretStringTemplate" not in wanted:
            return str(made["RandomPassword"])
        return json.dumps(json.loads(wanted[place[0]]) | {wanted[place[1]]: made["RandomPassword"]})

    def update(self, before: Mapping[str, Any]) -> None:
        if self.changed(before, "SecretString") and "SecretString" in self.properties:
            self.ask("PutSecretValue", SecretId=self.id, SecretString=self.properties["SecretString"])

    def remove(self) -> None:
        self.drop("DeleteSecret", SecretId=self.id, ForceDeleteWithoutRecovery=True)


KINDS = (Bucket, BucketPolicy, LogGroup, SubscriptionFilter, Key, KeyAlias, Repository, Subscription, TopicPolicy,
         QueuePolicy, Secret)  # fmt: skip
