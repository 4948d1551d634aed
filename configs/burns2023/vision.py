"""Burns et al. 2023, vision: AlexNet's labels of ImageNet teach linear heads on DINO's features.

There is no vision model here: features and probabilities are made elsewhere, by any tool, and put into one file in the
folder in which the command runs, vision.npz, of which row i of every array is image i of ImageNet's validation set:

  labels:     whole numbers [50000], 0 to 999
  alexnet:    probabilities [50000, 1000], AlexNet's softmax
  dino_r50:   features [50000, 2048] of DINO ResNet-50
  dino_vitb8: features [50000, 768] of DINO ViT-B/8
  groups:     [50000], optional: what belongs together

Published (openai/weak-to-strong, vision; top-1 accuracy): data below, of its first README. After a fix of its learning
rate schedule (pull request 16): ResNet-50 .619, .645, PGR .671; ViT-B/8 .666, .740, PGR .575. They publish no
confidence loss here; it is added.

Recipe: 40,000 images to train on, of which student and ceiling see the same, 10,000 to test; soft labels, Adam 1e-3, a
cosine, batches of 100, 20 epochs (ResNet-50) and 5 (ViT). Here 400 of the 40,000 validate, three seeds each draw their
own test images, and features are standardised. AlexNet comes trained: the supervisor split is unused (2 rows).

Hardware: a laptop with 16 GB of memory; heads of 1,000 classes on 50,000 rows.
Command:  w2s sweep configs/burns2023/vision.py --dry-run; w2s sweep configs/burns2023/vision.py
Expect:   not measured here: neither images nor vision models were at hand.
"""

from w2s_jax import Experiment, Given, Learner, Method, OptimizerConfig, Published, TaskConfig, Train

FILE = "vision.npz"


def probe(features: str, epochs: int) -> Learner:
    return Learner(
        f"{FILE}:{features}",
        parameters="probe",
        epochs=epochs,
        batch_size=100,
        optimizer=OptimizerConfig(learning_rate=1e-3),
    )


SOURCE = "openai/weak-to-strong, vision, first README"

experiment = Experiment(
    name="burns2023_vision",
    tasks=(TaskConfig(FILE, supervisor=2, transfer=39_598, validation=400, test=10_000, balance=False),),
    supervisors={"alexnet": Given(f"{FILE}:alexnet")},
    students={"dino-r50": probe("dino_r50", 20), "dino-vitb8": probe("dino_vitb8", 5)},
    methods={"naive": Method(), "confidence": Method(Train("confidence"))},
    keep_params=False,
    published=(
        Published(0.566, SOURCE, metric="accuracy", role="supervisor"),
        *(
            Published(value, SOURCE, metric=metric, role=role, student=student, method="naive")
            for student, values in {"dino-r50": (0.607, 0.637, 0.577), "dino-vitb8": (0.642, 0.749, 0.415)}.items()
            for value, metric, role in zip(
                values, ("accuracy", "accuracy", "pgr"), ("student", "ceiling", "student"), strict=True
            )
        ),
    ),
)
