"""Plugins for LM Studio, written in Python."""
