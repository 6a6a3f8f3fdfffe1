"""What is spoken with Keycloak: its end points, keys and answers, with limits on time and size."""
