"""Generation with a transformers model, for `hf:` players and online training."""
