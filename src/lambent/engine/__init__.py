"""What Lambda runs: execution environments and the invocations they serve."""
