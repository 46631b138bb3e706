"""LM Studio over HTTP: the client for those who have only the HTTP port."""
