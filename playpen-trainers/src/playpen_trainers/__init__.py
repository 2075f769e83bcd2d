"""Trainers for Playpen: post-train language models on the dialogue games they play."""

import logging
import warnings

# peft imports it wherever it is installed, and it warns of a kernel that it would load from a hub.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

# TRL looks for vLLM wherever it is installed, but it is we who run it.
warnings.filterwarnings("ignore", message="TRL currently supports vLLM", category=UserWarning)
