from ..iam.conftest import iam

__all__ = ["iam"]
