"""The HTTP surfaces: OpenAI's, Anthropic's, and LM Studio's own two, over the same core as the native protocol.

A surface is what turns its requests into a configuration and a prompt, and the packets of the prediction into its own
words. Everything between is in `work`; `routes` says what is where. Nothing is imported here, so that the settings can
be read where the packages of the server are missing.
"""
