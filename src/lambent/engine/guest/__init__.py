"""What runs inside a sandbox's root, never inside the server.

These files are copied to `/var/runtime` and run by the runtime's own interpreter, so they import nothing of Lambent
and keep to what Python 3.9 knows.
"""
