"""Exchange of runs with clemcore (docs/rules/formats.md, docs/rules/clemscore.md).

`reading` reads the results trees of clemcore 2.x to 3.7.2, `played_instances` what was played
there, and `importing` makes runs of them; `jsonl` makes runs of files with one episode a line.
`exporting` writes the tree of 3.7.2, with `events` for the episodes and `layout` for the folders;
`tables` writes the tables of ``clem eval``.  `selection` reads lists of instances such as the
official validation split.  `vocabulary` has clemcore's words.
"""
