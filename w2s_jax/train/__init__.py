"""Training and inference of one model on any targets; nothing here knows of weak or strong.

`learner` says what is trained and how; `prepare` turns it into module, parameters, state and compiled steps; `loop`,
`step`, `state` and `optimizer` train. `finetune` and `generative` are the two ways to train a whole model; `restore`
reads back what they trained. `probing` and `probe` train linear heads on cached features, `ccs` a direction without
labels. `outputs`, `reading`, `answering`, `writing`, `prompting` and `inference` are what a model reads and writes.
"""
