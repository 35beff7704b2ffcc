"""What STS's operations need permission for: next to nothing, for a role's trust policy says who may assume it."""

from __future__ import annotations

from lambent.wire.gate import Rules, inside, nothing

RULES: Rules = {
    "AssumeRole": inside,
    "AssumeRoleWithSAML": inside,  # never signed: the assertion is who asks
    "AssumeRoleWithWebIdentity": inside,  # never signed: the token is who asks
    "GetAccessKeyInfo": nothing,
    "GetCallerIdentity": nothing,
    "GetSessionToken": nothing,
}
