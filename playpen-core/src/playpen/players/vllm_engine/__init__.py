"""vLLM's engine in this process.  Its workers import this package first: keep it empty."""
