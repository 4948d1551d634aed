"""One class for each kind of artefact that a run computes: what it needs, what its hash covers, how it is computed.

`base` has what all have in common; `truth` the models that learn ground truth; `supervise` a supervisor's labels, and
the interface of a kind of supervisor; `student` what learns from these labels, and the interface of a way to learn;
`measuring` what a kind of supervisor may look at to measure something of its own; `cost` how much work a stage is.
"""
