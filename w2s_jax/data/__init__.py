"""Tasks, their examples and splits, tokens and batches, and the tables of predictions.

`tasks` has one module for each family of tasks, `sources` is where records come from, `example` one labelled text;
`task_config` and `task_data` are a task as named by a config and as read; `splits` draws the four splits; `arrays` and
`formulas` are tasks of arrays and of formulas. `tokens` and `batching` feed models; `predictions` is what a stage
writes.
"""
