"""The static benchmarks: questions that one player answers once (specification of v2)."""
