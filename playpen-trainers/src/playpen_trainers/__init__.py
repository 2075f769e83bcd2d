"""Trainers for Playpen: post-train language models on the dialogue games they play."""
