"""CloudFormation: moto's engine for templates, with the resources of native services made at the server itself."""
