"""S3: buckets and objects, durable on this machine's disk."""
