"""Questions of our own for the static benchmarks, and programs that answer them.

They have the form of the benchmarks, and none of their content.
"""
