"""What is kept of a login with Keycloak: its tokens, sealed, and how they end with ours."""
