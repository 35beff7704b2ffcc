"""What KMS's operations need permission for.

Who may use a key is told by the key: its policy, its grants, and what is wrapped by it is known only once a ciphertext
has been read. So the handlers ask, with the key in their hands (`access.authorize`).

Source: service authorization reference, "Actions, resources, and condition keys for AWS Key Management Service".
"""

from __future__ import annotations

from lambent.wire.gate import Rules, anything, inside, key, needs, request_tags

_ON_KEYS = (
    "CancelKeyDeletion",
    "CreateAlias",
    "CreateGrant",
    "Decrypt",
    "DeleteAlias",
    "DescribeKey",
    "DisableKey",
    "DisableKeyRotation",
    "EnableKey",
    "EnableKeyRotation",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "GetKeyPolicy",
    "GetKeyRotationStatus",
    "ListGrants",
    "ListKeyPolicies",
    "ListKeyRotations",
    "ListResourceTags",
    "PutKeyPolicy",
    "ReEncrypt",
    "RetireGrant",
    "RevokeGrant",
    "RotateKeyOnDemand",
    "ScheduleKeyDeletion",
    "TagResource",
    "UntagResource",
    "UpdateAlias",
    "UpdateKeyDescription",
)

RULES: Rules = {
    **dict.fromkeys(_ON_KEYS, inside),
    "CreateKey": needs(
        "kms:CreateKey",
        anything,
        request_tags("Tags", "TagKey", "TagValue"),
        key("kms:keyspec", "KeySpec"),
        key("kms:keyusage", "KeyUsage"),
        key("kms:keyorigin", "Origin"),
    ),
    "GenerateRandom": needs("kms:GenerateRandom"),
    "ListAliases": needs("kms:ListAliases"),
    "ListKeys": needs("kms:ListKeys"),
    "ListRetirableGrants": needs("kms:ListRetirableGrants"),
}
