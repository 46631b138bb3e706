"""Plugins: processes that connect as clients and offer tools, generators and hooks for others to use."""
