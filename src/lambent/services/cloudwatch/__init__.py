"""CloudWatch metrics: what functions do, and what anybody puts there. Alarms and dashboards are not here."""
