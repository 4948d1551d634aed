"""What everything stands on; nothing here knows of learning.

`errors` and `checks` are bad input in one line; `files`, `downloads`, `checkpoint` and `packaged` what is on disk;
`registry`, `references` and `options` named things, a user's own Python, and its hyperparameters; `processes` and
`sharding` several processes and devices; `progress`, `tracking` and `provenance` what is told and recorded.
"""
