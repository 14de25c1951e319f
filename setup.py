"""Package metadata and dependency floors; exact tested versions are in constraints.txt."""

from setuptools import find_packages, setup

setup(
    name="dsdenseunet",
    version="0.1.0",
    description="3D-DenseUNet-569 in JAX and Flax: liver and tumour segmentation of CT volumes",
    long_description=open("README.md", encoding="utf-8").read(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    # With which of them and which JAX the tests were run: docs/getting-started/README.md.
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    packages=find_packages(include=["dsdenseunet", "dsdenseunet.*"]),
    package_data={"dsdenseunet": ["py.typed", "**/*.html", "**/*.json", "**/*.textproto"]},
    install_requires=[
        "absl-py>=2.1",  # flags of the entry points
        "connected-components-3d>=3.20",  # lesions, largest liver
        "edt>=3.0",  # distances in mm
        "filelock>=3.16",  # one process at a time in a folder, on every system
        "flax>=0.12",  # networks
        "grain>=0.2.15",  # stream of training patches
        "jax>=0.10",
        "jinja2>=3.1",  # report pages
        "matplotlib>=3.9",  # pictures
        "ml_collections>=1.0",  # configs
        "nibabel>=5.3",  # NIfTI headers and orientations
        "numpy>=2.0",
        "optax>=0.2.5",  # optimiser
        "orbax-checkpoint>=0.11.30",  # checkpoints
        "pillow>=10.1",  # pictures without axes: the first batch, slices of a page
        "psutil>=5.9",  # memory and times of processes, on every system
        "pydicom>=3.0.1",  # DICOM
        "scipy>=1.14",  # filters, nearest surfaces
        "tensorboardX>=2.6",  # training curves, without TensorFlow
        "tensorstore>=0.1.80",  # whether checkpoints can be read
        "tqdm>=4.66",  # progress bars
    ],
    extras_require={
        # JAX's own extras bring the CUDA libraries; the driver must be new enough for them.
        "cuda12": ["jax[cuda12]>=0.10"],
        "cuda13": ["jax[cuda13]>=0.10"],
        # Cards of compute capability below 7.5 (Pascal, Volta), which JAX for CUDA 12 still
        # serves and cuDNN from 9.11 on, which it would take, does not.
        "cuda12-pascal": ["jax[cuda12]>=0.10", "nvidia-cudnn-cu12>=9.10.2,<9.11"],
        # Writing DICOM segmentations, and decoding compressed DICOM images.
        "dicom": ["highdicom>=0.25", "python-gdcm>=3.0.24"],
        # What `make site` builds the documentation with: Sphinx, that reads Markdown.
        "docs": ["furo>=2024.8", "myst-parser>=4.0", "sphinx>=8.1"],
        # With which jax.export writes and reads programs.
        "export": ["flatbuffers>=24.3"],
        # What `make test` installs.
        "test": [
            "flatbuffers>=24.3",
            "highdicom>=0.25",
            "hypothesis>=6.100",
            "mypy>=1.15",
            "pytest>=8.3",
            "pytest-xdist>=3.6",
            "ruff>=0.11",
        ],
        # PyTorch, to compare speed with.
        "bench": ["torch>=2.6"],
        # Where a run's numbers can go besides its folder.
        "wandb": ["wandb>=0.17"],
        "mlflow": ["mlflow>=2.16"],
        # Running notebooks on this machine.
        "notebook": ["ipykernel>=6.29", "nbclient>=0.10", "nbformat>=5.10"],
    },
)
