"""Preferences from play: which of two dialogues, or of two replies, was better.

Evidence comes from episodes that differ in nothing but what was said: the same instance, the same
chance moves, the same role.  A dialogue is worth its return.  A reply is worth what follows on
average when the game is played on from it again and again.
"""
