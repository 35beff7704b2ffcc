"""What an account may use in a region: AWS's default quotas."""

CONCURRENT_EXECUTIONS = 1000
LEAST_UNRESERVED = 100  # concurrent executions that no reservation may take from the other functions
CODE_SIZE_UNZIPPED = 262_144_000  # bytes
CODE_SIZE_ZIPPED = 52_428_800  # bytes, in a request
TOTAL_CODE_SIZE = 80_530_636_800  # bytes: 75 GiB
