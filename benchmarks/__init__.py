"""What deltalite costs, beside deltalake and the raw formats; ``python -m benchmarks --help`` (docs/performance.md)."""
