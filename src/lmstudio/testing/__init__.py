"""Tests of code that uses LM Studio, without LM Studio."""
