"""The checks, by what they are about.  Each is one test of `playpen.testing.GameConformance`."""
