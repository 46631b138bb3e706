"""Models that this server can download: a catalogue of them, and the downloads themselves.

A catalogue is a folder with LM Studio's layout, or a JSON document, local or at an http address. Its files are copied,
or fetched over HTTP, into the models folder; then they can be loaded like any other model.
"""
