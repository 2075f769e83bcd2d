"""Reports of runs and trainings: a web page, Markdown, and the live viewer."""
