"""KMS: the keys under which Lambda keeps secrets, and a service of its own for whoever wants to encrypt."""
