"""Exchange of runs with clemcore (docs/rules/formats.md, docs/rules/clemscore.md).

`reading` knows the results trees of clemcore 2.x to 3.7.2 and `played` what was played there;
`importing` makes runs of them.  `exporting` writes the tree of 3.7.2, with `turns` for its events
and `layout` for its folders; `tables` writes the tables of ``clem eval``.  `selection` reads lists
of instances such as the official validation split.
"""
