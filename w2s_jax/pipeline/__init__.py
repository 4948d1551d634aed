"""From an experiment to finished stages.

`graph` lists an experiment's cells and the stages that answer them; `schedule` runs those that are missing, one failure
at a time; `session` owns what a run needs (tasks, caches, devices) and trains; `store` keeps finished stages on disk;
`estimate` says about how long it takes; `questionnaire` writes what people are to label.
"""
