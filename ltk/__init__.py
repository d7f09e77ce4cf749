"""ltk: private networks from one YAML file, and the NATs to try them behind."""

__version__ = "0.1.0"
