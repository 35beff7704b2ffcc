"""What the operations of CloudWatch need permission for: metrics have no ARNs, a condition can name their namespace.

Source: service authorization reference, "Actions, resources, and condition keys for Amazon CloudWatch".
"""

from __future__ import annotations

from lambent.wire.gate import Rules, anything, key, needs

RULES: Rules = {
    "GetMetricData": needs("cloudwatch:GetMetricData"),
    "GetMetricStatistics": needs("cloudwatch:GetMetricStatistics"),
    "ListMetrics": needs("cloudwatch:ListMetrics"),
    "PutMetricData": needs("cloudwatch:PutMetricData", anything, key("cloudwatch:namespace", "Namespace")),
}
