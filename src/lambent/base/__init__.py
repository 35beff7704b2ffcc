"""What knows nothing of AWS: time, storage, jobs, HTTP."""
