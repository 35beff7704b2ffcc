"""The neighbours that Lambda cannot be used without: one folder a service, each reached only through `wire`."""
