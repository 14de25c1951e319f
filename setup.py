"""Package metadata and dependency floors; exact tested versions are in constraints.txt."""

from setuptools import find_packages, setup

setup(
    name="dsdenseunet",
    version="0.1.0",
    description="3D-DenseUNet-569 in JAX and Flax: liver and tumour segmentation of CT volumes",
    long_description=open("README.md", encoding="utf-8").read(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["dsdenseunet", "dsdenseunet.*"]),
    package_data={"dsdenseunet": ["py.typed", "**/*.html", "**/*.json", "**/*.textproto"]},
    install_requires=[
        "absl-py>=2.1",
        "connected-components-3d>=3.20",
        "edt>=3.0",
        "flax>=0.12",
        "grain>=0.2.15",
        "jax>=0.9",
        "jinja2>=3.1",
        "matplotlib>=3.9",
        "ml_collections>=1.0",
        "nibabel>=5.3",
        "numpy>=2.0",
        "optax>=0.2.5",
        "orbax-checkpoint>=0.11.30",
        "scipy>=1.14",
        "tensorboardX>=2.6",
        "tqdm>=4.66",
    ],
    extras_require={
        "cuda12": ["jax[cuda12]>=0.9"],
        "cuda13": ["jax[cuda13]>=0.9"],
        "test": ["hypothesis>=6.100", "mypy>=1.15", "pytest>=8.3", "pytest-xdist>=3.6", "ruff>=0.11"],
        "bench": ["torch>=2.6"],
        "notebook": ["ipykernel>=6.29", "nbclient>=0.10", "nbformat>=5.10"],
    },
)
