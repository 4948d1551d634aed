"""Training a stage's model. Nothing here knows of weak or strong.

`learner` says what is trained; `outputs` what its model gives for an example; `prepare` makes the module, parameters,
state and compiled steps of the two. `finetune` and `generative` run them in `loop`; `restore` reads back what a stage
trained. `probing` and `probe` train heads on cached features; `prompting`, `writing` and `inference` train nothing.
"""
