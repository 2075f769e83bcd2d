"""Trainers for Playpen: post-train language models on the dialogue games they play."""

import logging

# peft imports it wherever it is installed, and it warns of a kernel that it would load from a hub.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
