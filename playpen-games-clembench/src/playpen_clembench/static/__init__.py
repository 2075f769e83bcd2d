"""The static benchmarks: questions that one player answers once (docs/rules/static.md)."""
