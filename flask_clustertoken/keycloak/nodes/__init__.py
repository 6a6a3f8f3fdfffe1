"""What nodes do for Keycloak: register themselves, work in the background, heed "not before"."""
