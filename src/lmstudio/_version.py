"""The package version, read by the build and by `lmstudio.__version__`."""

__version__ = "2.0.0b1"
