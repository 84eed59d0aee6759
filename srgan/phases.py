"""The two phases of a training (paper, section 3.2): networks, optimisers and one step of each.

SRResNet is trained by the error of pixels; SRGAN starts from its weights and trains generator and
discriminator against each other.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srgan.balance import gradient_powers
from srgan.batches import Batch
from srgan.checkpoint import PhaseState
from srgan.distributed import Ranks
from srgan.gpu import convolutions
from srgan.losses import adversarial_loss, discriminator_losses, frequency_error
from srgan.models import build_discriminator, build_model
from srgan.moving_average import MovingAverage
from srgan.muon import ConvolutionMuon, inner_kernels
from srgan.recipe import PHASES, PhaseName, Recipe

Weights = Mapping[str, Tensor]


class Phase(ABC):
    """What both phases share: the generator, its moving average, precision and state."""

    name: PhaseName

    def __init__(self, options: Recipe, ranks: Ranks, weights: Weights | None) -> None:
        """Build the generator from weights, or from the seed."""
        self.options = options
        self._ranks = ranks
        self._autocast = torch.autocast(
            ranks.device.type, torch.bfloat16, enabled=options.precision == "bf16"
        )
        self.networks: dict[str, nn.Module] = {}
        self.parallel_networks: dict[str, nn.Module] = {}
        """The same, whose gradients are the mean over ranks."""
        self._optimisers: dict[str, torch.optim.Optimizer] = {}

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            generator = build_model(
                options.model,
                residual_blocks=options.residual_blocks,
                channels=options.channels,
                bicubic_skip=options.bicubic_skip,
                even_sub_pixels=options.even_sub_pixels,
                # Muon moves a kernel as one matrix, which with a second branch it is not.
                for_training=not self._has_muon,
            )
        if weights is not None:
            generator.load_state_dict(weights)
        self.average = MovingAverage(self._place(generator), options.ema_decay)
        self._add_network("generator", generator)

    @property
    def number(self) -> int:
        """0 for srresnet, 1 for srgan."""
        return PHASES.index(self.name)

    def compute_gradients(self, batch: Batch) -> dict[str, Tensor]:
        """Gradients of all networks for a batch; returns each loss term of this rank's slice.

        Beside them stand powers of gradients (see balance.py). All stay on the device: reading
        them would make the host wait for it.
        """
        self._zero_gradients()
        with convolutions(self.options.precision, same_shapes=True):
            return self._compute_gradients(batch)

    @abstractmethod
    def _compute_gradients(self, batch: Batch) -> dict[str, Tensor]:
        """What compute_gradients returns, from gradients that are zero."""

    def apply_gradients(self, step: int, learning_rate: float) -> None:
        """Change the weights by the computed gradients; the first step is 0."""
        for optimiser in self._optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = learning_rate
            optimiser.step()
        self.average.update(self.networks["generator"], step)

    def state_dict(self) -> PhaseState:
        """Everything a later run needs to go on from here."""
        return {
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "average": self.average.network.state_dict(),
            "optimisers": {name: item.state_dict() for name, item in self._optimisers.items()},
        }

    def load_state_dict(self, state: PhaseState) -> None:
        """Go on from the state that state_dict returned."""
        for name, network in self.networks.items():
            network.load_state_dict(state["networks"][name])
        self.average.network.load_state_dict(state["average"])
        for name, optimiser in self._optimisers.items():
            # The groups hold choices such as fused, which belong to this run's options.
            groups = optimiser.state_dict()["param_groups"]
            saved = state["optimisers"][name]["state"]
            optimiser.load_state_dict({"state": saved, "param_groups": groups})
            _lay_out_as_weights(optimiser)

    @property
    def _has_muon(self) -> bool:
        return self.name == "srresnet" and self.options.optimizer == "muon"

    def _place(self, network: nn.Module) -> nn.Module:
        # On a CPU batches in that order are what makes it fast; weights in it cost 3 to 12 %.
        on_gpu = self._ranks.device.type == "cuda"
        ordered = self.options.channels_last and on_gpu
        layout = torch.channels_last if ordered else torch.contiguous_format
        return network.to(self._ranks.device, memory_format=layout)  # type: ignore[call-overload]

    def _add_network(self, name: str, network: nn.Module) -> None:
        network = self._ranks.prepare(self._place(network)).train()
        if self.options.compile:
            network.compile()
        self.networks[name] = network
        self.parallel_networks[name] = self._ranks.parallel(network)
        kernels = inner_kernels(network) if self._has_muon else []
        if kernels:
            self._optimisers[f"{name} kernels"] = ConvolutionMuon(
                kernels, self.options.learning_rate, self._ranks
            )
        taken = {id(kernel) for kernel in kernels}
        self._optimisers[name] = torch.optim.Adam(
            [one for one in network.parameters() if id(one) not in taken],
            lr=self.options.learning_rate,
            betas=(0.9, 0.999),
            # False would forbid the other fast implementation, foreach, as well.
            fused=self.options.fused_adam or None,
        )

    def _zero_gradients(self) -> None:
        for network in self.networks.values():
            network.zero_grad()

    def _generate(self, batch: Batch) -> Tensor:
        with self._autocast:
            return self.parallel_networks["generator"](batch.low).float()


class SrresnetPhase(Phase):
    """Trains the generator by the error of pixels."""

    name = "srresnet"

    def _compute_gradients(self, batch: Batch) -> dict[str, Tensor]:
        error = F.l1_loss if self.options.pixel_loss == "l1" else F.mse_loss
        generated = self._generate(batch)
        total = error(generated, batch.high)
        terms: dict[str, Tensor] = {self.options.pixel_loss: total}
        if self.options.frequency_weight:
            terms["frequency"] = frequency_error(generated, batch.high)
            total = total + self.options.frequency_weight * terms["frequency"]
        total.backward()
        return {name: term.detach() for name, term in terms.items()}


class SrganPhase(Phase):
    """Trains generator and discriminator in turn, on the same generated images."""

    name = "srgan"

    def __init__(
        self, options: Recipe, ranks: Ranks, weights: Weights | None, content: nn.Module
    ) -> None:
        """See Phase; content is the content loss, of generated and original images."""
        super().__init__(options, ranks, weights)
        self._content = self._place(content)
        if options.compile and options.content != "mse":
            self._content.compile()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed + 1)
            discriminator = build_discriminator(
                options.model, options.crop_size, options.channels, options.spectral_norm
            )
        self._add_network("discriminator", discriminator)

    def _compute_gradients(self, batch: Batch) -> dict[str, Tensor]:
        generated = self._generate(batch)
        images = generated.detach()

        terms = self._generator_terms(generated, batch.high)
        gradients = {name: weight * gradient for name, (_, weight, gradient) in terms.items()}
        generated.backward(sum(gradients.values(), torch.zeros_like(images)))

        discriminator = self.parallel_networks["discriminator"]
        with self._autocast:
            # Two calls, as batch statistics of originals and of generated images differ.
            original_logits = discriminator(batch.high).float()
            generated_logits = discriminator(images).float()
        smoothing = self.options.label_smoothing
        mistakes = discriminator_losses(original_logits, generated_logits, smoothing)
        sum(mistakes.values(), torch.zeros((), device=images.device)).backward()

        values = {name: value for name, (value, _, _) in terms.items()}
        values = {name: term.detach() for name, term in {**values, **mistakes}.items()}
        return {**values, **gradient_powers(gradients)}

    def _generator_terms(
        self, generated: Tensor, originals: Tensor
    ) -> dict[str, tuple[Tensor, float, Tensor]]:
        """Each term of the generator's loss: its value, weight, and gradient to the images.

        Each term's gradient is taken on its own, since their sum does not tell who moves the
        generator; that costs nothing, as they have no layer in common.
        """
        terms: dict[str, tuple[Tensor, float]] = {}
        with _frozen(self.networks["discriminator"]), self._autocast:
            terms["content"] = self._content(generated, originals), 1.0
            logits = self.networks["discriminator"](generated).float()
            terms["adversarial"] = adversarial_loss(logits), self.options.adversarial_weight
            if self.options.pixel_weight:
                terms["pixel"] = F.l1_loss(generated, originals), self.options.pixel_weight
            return {
                name: (value, weight, torch.autograd.grad(value, generated)[0])
                for name, (value, weight) in terms.items()
            }


def _lay_out_as_weights(optimiser: torch.optim.Optimizer) -> None:
    """Put the moments into the memory order of their weights, which Adam takes for granted.

    A checkpoint of a GPU has them in NHWC, one of a CPU in NCHW. On a CPU fused Adam would take
    numbers for those of other weights, without a word.
    """
    for parameter, values in optimiser.state.items():
        for name, value in values.items():
            if value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter).copy_(value)


@contextlib.contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """Let gradients pass through a network without computing those of its weights."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
