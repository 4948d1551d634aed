"""From finished stages to results.

results: the schema. one_cell, summarise, across: from predictions to cells, means over seeds, and methods over tasks.
measure: joins finished stages with ground truth. storage, frames: results.json, and tables for pandas or pyarrow.
compare: two methods, students or supervisors. sealed: scoring against labels that are kept elsewhere.
"""
