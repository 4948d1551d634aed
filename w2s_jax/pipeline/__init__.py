"""From an experiment to finished stages: the graph, what each stage is given, running, storing."""
