"""Every field that an experiment can set, with its unit and the reason for its default.

An experiment's file calls `base_config()` and changes what it needs. Fields that are fractions,
counts or axes say so; axes are always (D, H, W): axial slice, row, column.
"""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from dsdenseunet.tasks import lits


def phase(epochs: int, **changed: Any) -> ConfigDict:
    """One phase of training; `changed` are those of its fields that are not as here."""
    fields = ConfigDict()
    fields.epochs = epochs
    # Where its first weights come from: random | best:PHASE (an earlier phase of this run) | the folder of
    # another run, of whose last phase the best are taken, or a weights.safetensors of experiments.export.
    fields.start = "random"
    # Arrays that are not taken from `start` but stay random, or have no place here: patterns of their names,
    # such as "params/head/*". All others must be found there.
    fields.leave_out = ()
    # Arrays that stay as they start: "params/stem/*" are weights, "batch_stats/stem/*" running statistics.
    fields.frozen = ()
    # Fields of config.model that are otherwise in this phase, such as {"dropout_rate": 0.1}.
    fields.model = ConfigDict()
    # In place of config.optimizer's where they are not 0.0, "" and -1.
    fields.learning_rate = 0.0
    fields.schedule = ""
    fields.warm_up_steps = -1
    # Whether the schedule continues with the steps of the previous phase (False: it starts again).
    fields.continue_schedule = False
    fields.update(changed)
    return fields


def in_order(**phases: ConfigDict) -> ConfigDict:
    """`config.phases`: phases by their names, which their folders have too, and the order of the names."""
    return ConfigDict({"order": tuple(phases), **phases})


def base_config() -> ConfigDict:
    """The paper's network, loss and patch with the practical schedule."""
    config = ConfigDict()
    config.name = "base"
    config.seed = 0

    # What is segmented, in plain tuples; dsdenseunet/tasks/task.py says what each field means.
    # classes: names by label. regions: (name, labels) of what is scored together; they may overlap.
    # channels: (name, normalisation, its numbers). ignore_label: counts nowhere (-1: there is none).
    # stratify_by: the region that is spread evenly over folds. select_by: what picks the best weights,
    # regions for their Dice or other scores such as tumour_surface_dice_2mm; of several the mean. detect:
    # regions that are scored piece by piece. clean_up: ("largest", region) or ("within", region, other, mm).
    # spacing_mm: (): each scan's own; or three numbers, mm along D, H, W, to which scans are resampled.
    config.task = ConfigDict(lits.TASK.to_config())

    config.model = ConfigDict()
    config.model.family = "dense_unet"
    # Channels of the input and of the output: those of the task, and its classes.
    config.model.in_channels = 1
    config.model.num_classes = 3
    # Dense layers a block; 4 + 12 + 24 + 36 = 76 dense layers give the paper's 569 layers.
    config.model.block_layers = (4, 12, 24, 36)
    config.model.growth_rate = 32
    # Channels of the 1^3 convolution in front of each 3^3 one (4 x growth, as DenseNet-B).
    config.model.bottleneck = 128
    config.model.stem_channels = 96
    # Share of channels that a transition keeps.
    config.model.compression = 0.5
    config.model.decoder_channels = (504, 224, 192, 96, 64)
    # Depthwise separable convolutions in dense layers and transitions (False: full ones).
    config.model.separable = True
    # UNet link: add | none | project | concat. Only `add` agrees with the paper's Table 3.
    config.model.link = "add"
    # Keras' defaults, as the paper used Keras.
    config.model.bn_momentum = 0.99
    config.model.bn_epsilon = 1e-3
    # float32 | bfloat16: type of activations; parameters, statistics and logits stay float32.
    config.model.dtype = "float32"
    # none | layer: convolutions that are computed again in the backward pass to save memory (BN, ReLU and
    # upsampling always are): none, or those of dense layers.
    config.model.remat = "none"
    # Stages before the last that have an output of their own in training, see config.loss.deep_supervision.
    config.model.auxiliary_outputs = 0

    # A sum of terms, each times its `weight` (0: the term is off), over the voxels that count.
    config.loss = ConfigDict()
    # Deep supervision: weights of the network's coarser outputs, finest first, beside the 1 of its logits;
    # one for each of config.model.auxiliary_outputs, which are computed in training only ((): none).
    config.loss.deep_supervision = ()
    config.loss.cross_entropy = ConfigDict()
    config.loss.cross_entropy.weight = 1.0
    # A weight for each class of the task; these are the paper's, equation 2.
    config.loss.cross_entropy.class_weights = (0.2, 1.2, 2.2)
    # Soft Dice of the classes but background; `over` the "batch" as a whole, or each "sample".
    config.loss.dice = ConfigDict()
    config.loss.dice.weight = 0.0
    config.loss.dice.over = "batch"
    # Cross-entropy times (1 - probability) ** gamma: concentrates on what is still wrong.
    config.loss.focal = ConfigDict()
    config.loss.focal.weight = 0.0
    config.loss.focal.class_weights = (1.0, 1.0, 1.0)
    config.loss.focal.gamma = 2.0
    # Dice with a weight for false positives (alpha) and one for false negatives (beta).
    config.loss.tversky = ConfigDict()
    config.loss.tversky.weight = 0.0
    config.loss.tversky.alpha = 0.3
    config.loss.tversky.beta = 0.7
    config.loss.tversky.over = "batch"

    config.optimizer = ConfigDict()
    # sgd | adam (with `weight_decay` AdamW) | muon (of hidden matrices; adam of the rest).
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 0.01
    # Of sgd and muon; `nesterov`, of sgd, looks one step ahead.
    config.optimizer.momentum = 0.5
    config.optimizer.nesterov = False
    # Of muon: what its rate is, as a multiple of `learning_rate`, and its matrices: kernels by patterns of
    # their names, which leave out the first and the last layer.
    config.optimizer.muon_scale = 5.0
    config.optimizer.muon_parameters = ("params/block*", "params/transition*", "params/up*")
    # Of adam.
    config.optimizer.beta1 = 0.9
    config.optimizer.beta2 = 0.999
    config.optimizer.epsilon = 1e-8
    # Share of each kernel's weights that a step takes away, times the learning rate.
    config.optimizer.weight_decay = 0.0
    # Gradients whose norm over all parameters is larger are scaled down to it (0: never).
    config.optimizer.clip_norm = 0.0
    # step | polynomial | cosine; none falls below `lr_floor`, and each rises evenly over `warm_up_steps`.
    config.optimizer.schedule = "step"
    config.optimizer.warm_up_steps = 0
    # Of polynomial: the power of the share of steps that is left.
    config.optimizer.decay_power = 0.9
    # Of step: the rate is multiplied by `decay_factor` every `decay_epochs` epochs.
    config.optimizer.decay_factor = 0.5
    config.optimizer.decay_epochs = 10
    # A learning rate that is below the floor from the start stays as it is. Read literally (0.0) the paper's
    # rate is 1e-5 at the end of phase 1 and nothing soon after.
    config.optimizer.lr_floor = 1e-3

    # The paper's cascade: the best weights of 100 epochs start 1000 more.
    config.phases = in_order(phase1=phase(100), phase2=phase(1000, start="best:phase1"))

    config.data = ConfigDict()
    # Folder written by `python -m experiments.prepare`.
    config.data.cache = "cache"
    # Cross-validation: `fold` of `folds` validates, the others train. `explicit` names the cases instead, of
    # which none need validate where `training.validate_epochs` is 0.
    config.data.folds = 5
    config.data.fold = 0
    # Of how cases are dealt, beside their names: seeds of training share their folds.
    config.data.fold_seed = 0
    # Groups of cases that are scans of one patient, which folds keep together; all others are patients by
    # themselves. Names that the cache does not have play no part.
    config.data.same_patient = ()
    # JSON file of folds in place of dealt ones: a list of {"train": [names], "val": [names]} ("": none).
    config.data.fold_file = ""
    config.data.explicit = ConfigDict({"train": (), "validation": ()})
    # Voxels (D, H, W); each side a multiple of the network's stride (4, 32, 32).
    config.data.patch_size = (12, 224, 224)
    config.data.batch_size = 1
    # Share of patches centred on (any voxel, a voxel of class 1, of class 2, ...); sums to 1. Where a case
    # has no voxel of the class, one of the class before it is taken.
    config.data.centre_share = (0.34, 0.33, 0.33)
    # Random zoom factor, drawn uniformly; its axes: "in_plane" (H, W) or "all" (D, H, W).
    config.data.scale_range = (0.8, 1.2)
    config.data.scale_axes = "in_plane"
    # Probability of mirroring along (D, H, W).
    config.data.mirror_probability = (0.5, 0.5, 0.5)
    # Zoom, mirror and normalisation run on the device, the host only cuts voxels (False: the host does all).
    config.data.augment_on_device = True
    # Worker processes of the input pipeline (0: threads of this process only) and batches held ready.
    config.data.workers = 0
    config.data.threads = 2
    config.data.prefetch = 4

    # What else is changed at random, beside data's zoom and mirror: each with the `probability` for a patch
    # (0: off, and nothing is drawn) and the range that its size is drawn from, evenly.
    config.augment = ConfigDict()
    # Turns about D, H and W, up to so many degrees either way; in millimetres, whatever the spacing.
    config.augment.rotation = ConfigDict({"probability": 0.0, "degrees": (15.0, 15.0, 15.0)})
    # A factor for each axis by itself; 1.2 shows things larger.
    config.augment.scaling = ConfigDict({"probability": 0.0, "range": (0.85, 1.15)})
    # Smooth displacements of this deviation, in mm, of control points so many voxels of the patch apart.
    config.augment.elastic = ConfigDict(
        {"probability": 0.0, "range": (0.0, 3.0), "distance": (10.0, 10.0, 10.0)}
    )
    # From here on in this order, in units of the image as the network gets it. The noise's deviation.
    config.augment.noise = ConfigDict({"probability": 0.0, "range": (0.0, 0.1)})
    # A Gaussian's deviation, in voxels.
    config.augment.blur = ConfigDict({"probability": 0.0, "range": (0.5, 1.0)})
    # What is added.
    config.augment.brightness = ConfigDict({"probability": 0.0, "range": (-0.1, 0.1)})
    # What distances from the patch's mean are multiplied by.
    config.augment.contrast = ConfigDict({"probability": 0.0, "range": (0.75, 1.25)})
    # Share of the samples along each axis that are kept and interpolated between.
    config.augment.low_resolution = ConfigDict({"probability": 0.0, "range": (0.5, 1.0)})
    # The power of intensities between the patch's lowest and highest.
    config.augment.gamma = ConfigDict({"probability": 0.0, "range": (0.7, 1.5)})

    config.training = ConfigDict()
    # all, or the name of the one phase to train.
    config.training.phase = "all"
    config.training.steps_per_epoch = 10
    # Seconds for all of the run, from the process' start (0: no limit). The steps of the epochs are then only
    # the measure of the schedule, which is gone through in the time that there is.
    config.training.budget_seconds = 0.0
    # Micro-batches whose gradients are averaged before one update; batch_size is the whole batch.
    config.training.accumulate = 1
    # Epochs between the validations that choose the best weights (0: none). A phase's end always validates.
    config.training.validate_epochs = 10
    # Patches of the validation cases that they look at, the same ones every time (0: whole volumes instead).
    config.training.validate_patches = 32
    # Cases that are scored whole, with the best weights at a phase's end (0: all), the same ones every time.
    # Forward passes of a patch on LiTS: training about 3 a step, 33,000; validations 110 x 32 = 3,520; whole
    # cases 2 x 3 x 1,184 = 7,104: a quarter of the run. All 26 cases of a fold, whole and every 10 epochs,
    # would be 110 x 26 x 1,184 = 3,386,240.
    config.training.validate_cases = 3
    # Epochs between checkpoints.
    config.training.checkpoint_epochs = 5
    # Where the values of metrics.jsonl go, too: tensorboard, wandb, mlflow.
    config.training.log_to = ("tensorboard",)
    # First and last step of each phase that the profiler traces ((): none).
    config.training.profile_steps = ()

    config.inference = ConfigDict()
    # Share of a patch that its neighbour covers too.
    config.inference.overlap = 0.5
    # Standard deviation of the Gaussian weight, as a share of the patch's side (nnU-Net: 1/8).
    config.inference.sigma_scale = 0.125
    # Axes over which mirrored predictions are averaged ((): none), of 0, 1, 2 = D, H, W.
    config.inference.mirror_axes = ()
    # Predictions are also averaged over patches turned by as much about a cube's four diagonals (0: none).
    config.inference.rotation_degrees = 0.0
    # Patches run through the network at once.
    config.inference.batch_size = 1
    # One for each class but background: a voxel is of the last class whose probability reaches its own, and
    # background where none does ((): it is of the most probable class).
    config.inference.thresholds = ()
    return config
