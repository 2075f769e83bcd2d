"""What people look at: transcripts and tables."""
