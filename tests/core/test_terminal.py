"""Point 6: narrow terminals never cut a number or break a name."""
