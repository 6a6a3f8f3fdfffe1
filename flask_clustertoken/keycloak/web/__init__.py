"""What browsers and Keycloak send to us: login, logout, messages, access tokens."""
