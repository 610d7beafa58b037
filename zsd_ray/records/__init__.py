"""Values that packages exchange, the errors that users see, and the redaction of secrets."""
