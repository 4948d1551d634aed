"""Weak-to-strong generalization of small images: ten classes, features computed elsewhere, linear heads.

A head on an image's brightness in 3 x 3 cells supervises heads on all pixels and on features that K-means learned from
patches without labels, which stand for a pretrained representation. The files are made by
`python benchmarks/vision_features.py --fashion FOLDER`; that of Burns et al. 2023, AlexNet and DINO on ImageNet, is
configs/burns2023/vision.py.

Hardware: a laptop; two CPU cores took half a minute for each of the two commands.
Command:  python benchmarks/vision_features.py --fashion FOLDER; w2s sweep configs/vision.py
Expect:   docs/results/methods.md.
"""

from w2s_jax import Experiment, Learner, Method, OptimizerConfig, TaskConfig, Train

SIZES = {"supervisor": 400, "transfer": 600, "validation": 100, "test": 600, "balance": False}

heads = OptimizerConfig(learning_rate=1e-2, weight_decay=0.03)


def probe(features: str) -> Learner:
    return Learner(features, parameters="probe", epochs=20, optimizer=heads)


experiment = Experiment(
    name="vision",
    tasks=tuple(TaskConfig(file, **SIZES) for file in ("digits.npz", "mnist.npz", "fashion.npz")),
    supervisors={"3 x 3 cells": probe(":pooled")},
    students={"pixels": probe(":raw"), "patches": probe(":patches")},
    methods={"naive": Method(), "confidence": Method(Train("confidence")), "hard labels": Method(Train("hard_labels"))},
    seeds=(0, 1, 2, 3, 4),
    keep_params=False,
)
