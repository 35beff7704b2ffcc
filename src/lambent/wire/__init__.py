"""The AWS protocols, driven by botocore's service models. Knows no service."""
