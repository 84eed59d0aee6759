"""The options of a training; the defaults are the recipe of the paper (section 3.2)."""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Precision = Literal["float32", "tf32", "bf16"]
PhaseName = Literal["srresnet", "srgan"]
PHASES: tuple[PhaseName, ...] = ("srresnet", "srgan")

SMALLEST_DCGAN_CROP = 64
"""Side in pixels that the five layers of DCGAN's discriminator need."""

COSINE_END = 0.01
"""Part of the learning rate that the cosine schedule ends with."""


class Recipe(BaseModel):
    """Options of one training; flat, checked on construction, unchangeable afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    phase: Literal["srresnet", "srgan", "both"] = Field(
        "both",
        description="srresnet: by pixels alone; srgan: adversarial; both: one after the other",
    )
    initial_generator: str | None = Field(
        None,
        description="model file that the training starts from instead of the seed; phase=srgan "
        "needs it",
    )

    model: Literal["srresnet", "edsr", "span", "dcgan", "srcnn"] = Field(
        "srresnet",
        description="network to train: srresnet, the paper's; edsr and span, which compute at low "
        "resolution alone and are faster; dcgan; srcnn, which has no srgan phase",
    )
    residual_blocks: int = Field(
        16, ge=1, le=128, description="residual blocks of srresnet and edsr"
    )
    channels: int = Field(
        64,
        ge=1,
        le=512,
        description="feature maps of the generator's layers, and the least of "
        "the discriminator's (its widest has eight times as many)",
    )
    bicubic_skip: bool = Field(
        False,
        description="let srresnet, edsr or span learn the difference to bicubic: not the papers', "
        "but past bicubic within minutes",
    )
    even_sub_pixels: bool = Field(
        False,
        description="let srresnet, edsr or span make equal pixels where the picture does not vary: "
        "not the papers', but without it VGG losses draw a grid of the sub-pixels' period",
    )
    spectral_norm: bool = Field(
        False,
        description="spectral instead of batch normalisation in the discriminator: it wins less "
        "easily",
    )

    crop_size: int = Field(
        96, ge=16, le=1024, multiple_of=16, description="side of a training crop in pixels"
    )
    batch_size: int = Field(16, ge=1, description="crops in a step, over all ranks together")
    srresnet_steps: int = Field(1_000_000, ge=1, description="steps of the srresnet phase")
    srgan_steps: int = Field(200_000, ge=1, description="steps of the srgan phase")
    srresnet_epochs: int | None = Field(
        None,
        ge=1,
        description="epochs of the srresnet phase, in place of its steps; an epoch is as many "
        "steps as draw one crop for each training image: images / batch size, rounded up",
    )
    srgan_epochs: int | None = Field(
        None, ge=1, description="epochs of the srgan phase, in place of its steps"
    )
    degradation: Literal["bicubic", "photo"] = Field(
        "bicubic",
        description="how low-resolution crops are made: bicubic, or as photographs are: most of "
        "them blurred, noisy or compressed by JPEG as well, see srgan/degradation.py",
    )
    seed: int = Field(0, ge=0, description="seed of the initial weights and of all crops")

    learning_rate: float = Field(
        1e-4, gt=0, allow_inf_nan=False, description="Adam's learning rate, in both phases"
    )
    srgan_learning_rate: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Adam's learning rate in the srgan phase, in place of learning_rate",
    )
    learning_rate_schedule: Literal["paper", "cosine"] = Field(
        "paper",
        description="paper: constant, and srgan_final_learning_rate in the second half of the "
        "srgan phase; cosine: falling to a hundredth over each phase",
    )
    srgan_final_learning_rate: float = Field(
        1e-5,
        gt=0,
        allow_inf_nan=False,
        description="Adam's learning rate in the second half of the srgan phase",
    )
    pixel_loss: Literal["mse", "l1"] = Field(
        "mse",
        description="loss of the srresnet phase: mse, the paper's, or l1, the mean absolute error, "
        "EDSR's, which gets a higher PSNR in the same time",
    )
    frequency_weight: float = Field(
        0,
        ge=0,
        allow_inf_nan=False,
        description="weight of the mean absolute error of Fourier coefficients beside the "
        "srresnet phase's pixel loss: not the paper's, but a higher PSNR after as many steps "
        "(arXiv 2108.05054); 0.05 is usual",
    )
    optimizer: Literal["adam", "muon"] = Field(
        "adam",
        description="optimiser of the srresnet phase: adam, the paper's, or muon for the inner "
        "convolutions, which needs fewer steps (srgan/muon.py)",
    )
    content: Literal["mse", "vgg22", "vgg53", "vgg54", "lpips"] = Field(
        "vgg54",
        description="content loss of the srgan phase (the srresnet phase has pixel_loss): vgg22 of "
        "VGG19 or VGG16, vgg54 of VGG19, vgg53 of VGG16; lpips, not the paper's: a weighted "
        "distance of VGG16's five stages",
    )
    vgg_weights: str | None = Field(
        None,
        description="VGG weights in torchvision's names (.pth or .safetensors), for every "
        "content but mse [what fetch_data.py vgg19 or vgg16 fetched]",
    )
    vgg_feature_scale: float = Field(
        1 / 12.75,
        gt=0,
        allow_inf_nan=False,
        description="factor on the VGG features before they are compared; the loss, being their "
        "squared distance, scales by its square (0.006)",
    )
    adversarial_weight: float = Field(
        1e-3, ge=0, allow_inf_nan=False, description="weight of the adversarial loss"
    )
    pixel_weight: float = Field(
        0,
        ge=0,
        allow_inf_nan=False,
        description="weight of the mean absolute error of pixels in the srgan phase: not the "
        "paper's, but keeps colours and flat areas (ESRGAN)",
    )
    label_smoothing: float = Field(
        0,
        ge=0,
        lt=0.5,
        description="part that the discriminator's target for originals stays below 1: keeps it "
        "from being too sure (Salimans et al., arXiv 1606.03498)",
    )
    ema_decay: float = Field(
        0.999,
        ge=0,
        lt=1,
        allow_inf_nan=False,
        description="part of the averaged generator kept at each step; 0 keeps no average",
    )

    lpips_weights: str | None = Field(
        None, description="weights of LPIPS [what fetch_data.py lpips fetched]"
    )
    validate_every: int = Field(
        5000, ge=1, description="steps between two evaluations on the test sets"
    )
    checkpoint_every: int = Field(1000, ge=1, description="steps between two checkpoints")
    keep_checkpoints: int = Field(3, ge=1, description="checkpoints kept, the newest ones")
    log_every: int = Field(
        50, ge=1, description="steps between two log lines; losses are looked at only then"
    )
    pictures: int = Field(
        4, ge=0, description="test images in the comparison picture of each evaluation"
    )
    skip_bad: bool = Field(
        False,
        description="leave out unusable images, for training and for tests, instead of refusing "
        "the folder",
    )

    precision: Precision = Field(
        "float32",
        description="arithmetic of the networks: tf32 shortens what a GPU's convolutions read to "
        "10 bits (Ampere and newer); bf16 is autocast, weights stay float32",
    )
    channels_last: bool = Field(True, description="compute on tensors in NHWC order")
    compile: bool = Field(False, description="compile the networks with torch.compile")
    fused_adam: bool = Field(True, description="use Adam's fused implementation")

    @model_validator(mode="after")
    def _check_combination(self) -> "Recipe":
        if self.model == "srcnn" and self.phase != "srresnet":
            raise ValueError("model=srcnn is trained by pixels alone: set phase=srresnet")
        if (
            self.model == "dcgan"
            and self.phase != "srresnet"
            and self.crop_size < SMALLEST_DCGAN_CROP
        ):
            raise ValueError(f"model=dcgan needs crop_size {SMALLEST_DCGAN_CROP} or more")
        return self

    @property
    def phases(self) -> tuple[PhaseName, ...]:
        """The phases to run, in order."""
        return PHASES if self.phase == "both" else (self.phase,)

    def steps(self, phase: PhaseName, images: int) -> int:
        """Steps of one phase when there are that many training images."""
        if phase == "srresnet":
            steps, epochs = self.srresnet_steps, self.srresnet_epochs
        else:
            steps, epochs = self.srgan_steps, self.srgan_epochs
        return steps if epochs is None else epochs * math.ceil(images / self.batch_size)

    def learning_rate_at(self, phase: PhaseName, step: int, steps: int) -> float:
        """Learning rate of a step (the first is 0) out of the phase's steps.

        It depends on nothing else, so a resumed training cannot get it wrong.
        """
        rate = self.learning_rate
        if phase == "srgan" and self.srgan_learning_rate is not None:
            rate = self.srgan_learning_rate
        if self.learning_rate_schedule == "cosine":
            part = (1 + math.cos(math.pi * step / steps)) / 2
            return rate * (COSINE_END + (1 - COSINE_END) * part)
        if phase == "srgan" and step >= steps / 2:
            return self.srgan_final_learning_rate
        return rate
