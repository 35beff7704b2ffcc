"""Bad input made from the service model: every member of every request, wrong in every way that the model rules out."""
