"""What an account may use in a region: AWS's default quotas."""

from lambent.wire.errors import AwsError

CONCURRENT_EXECUTIONS = 1000
LEAST_UNRESERVED = 100  # concurrent executions that no reservation may take from the other functions
CODE_SIZE_UNZIPPED = 262_144_000  # bytes
CODE_SIZE_ZIPPED = 52_428_800  # bytes, in a request
TOTAL_CODE_SIZE = 80_530_636_800  # bytes: 75 GiB


def refuse_storage(size: int) -> None:
    """Raises CodeStorageExceededException when `size` bytes are more code than an account may store in a region."""
    if size > TOTAL_CODE_SIZE:
        raise AwsError("CodeStorageExceededException", "Code storage limit exceeded.", Type="User")
