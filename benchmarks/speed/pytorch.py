"""PyTorch: data as tensors, fused optimizers, eager or with `torch.compile`.

The option is any of the words compiled, cuda, bfloat16 and channels_last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name that PyTorch's users give it
from torch import Tensor, nn

from benchmarks.speed.gate import Array, Run

Loss = Callable[[Tensor, Tensor], Tensor]


def mnist_mlp(run: Run) -> dict[str, float]:
    """Three dense layers with ELU, batch normalisation and dropout."""
    config, width = run.config, 784
    layers: list[nn.Module] = [nn.Dropout(config.input_dropout)]
    for units in config.hidden:
        layers += [he_normal(nn.Linear(width, units)), nn.ELU(), normalization(nn.BatchNorm1d(units))]
        layers += [nn.Dropout(config.dropout)]
        width = units
    return classify(run, nn.Sequential(*layers, he_normal(nn.Linear(width, 10))), flat)


def lenet5_modern(run: Run) -> dict[str, float]:
    """Two convolutions with pooling and two dense layers, each with batch normalisation and ReLU."""
    dropout = run.config.dropout
    network = nn.Sequential(
        he_normal(nn.Conv2d(1, 6, 5, padding=2, bias=False)),
        *(nn.MaxPool2d(2), normalization(nn.BatchNorm2d(6)), nn.ReLU()),
        he_normal(nn.Conv2d(6, 16, 5, bias=False)),
        *(nn.MaxPool2d(2), normalization(nn.BatchNorm2d(16)), nn.ReLU()),
        *(nn.Flatten(), he_normal(nn.Linear(400, 120, bias=False))),
        *(normalization(nn.BatchNorm1d(120)), nn.ReLU(), nn.Dropout(dropout)),
        he_normal(nn.Linear(120, 84, bias=False)),
        *(normalization(nn.BatchNorm1d(84)), nn.ReLU(), nn.Dropout(dropout)),
        glorot(nn.Linear(84, 10)),
    )
    return classify(run, network, maps)


def lenet5_1998(run: Run) -> dict[str, float]:
    """Train the paper's network; a class "none of these" has a constant score."""
    network = LeNet5(torch.from_numpy(run.data["table"]), torch.from_numpy(run.data["codes"]), run.config.rubbish)
    return classify(run, network, lambda images: F.pad(maps(images), (2, 2, 2, 2)) * 1.275 - 0.1)


def lstm_mnist(run: Run) -> dict[str, float]:
    """Read an image row by row with an LSTM."""
    network = RowReader(run.config.units, run.config.dropout)
    return classify(run, network, lambda images: torch.from_numpy(images).float() / 255)


def lstm_text(run: Run) -> dict[str, float]:
    """Classify sentences, which are numbers of words already, with a bidirectional LSTM."""
    return classify(run, SentenceReader(run.config), lambda words: torch.from_numpy(words).long())


def lstm_forecast(run: Run) -> dict[str, float]:
    """Forecast the square root of a series, relative to its last value."""
    past, spread = np.sqrt(run.data["x_train"]), float(run.data["x_train"].std())
    network = Forecaster(run.config.units[0], float(past.mean()), float(past.std()))
    fit(run, network, torch.from_numpy, lambda outputs, targets: F.mse_loss(outputs / spread, targets / spread))
    difference = outputs(run, network, torch.from_numpy(run.data["x_test"])) - run.data["y_test"]
    return {"test rmse": float(np.sqrt(np.square(difference).mean()))}


def alexnet(run: Run) -> dict[str, float]:
    """Train AlexNet at the suite's size for Fashion-MNIST."""
    return classify(run, AlexNet(run), lambda images: torch.from_numpy(images).float()[:, None])


def logistic_regression(run: Run) -> dict[str, float]:
    """One softmax layer."""
    network = nn.Linear(784, 10)
    nn.init.zeros_(network.weight)
    nn.init.zeros_(network.bias)
    return classify(run, network, flat)


@torch.no_grad()
def rbm(run: Run) -> dict[str, float]:
    """Train a restricted Boltzmann machine with CD-1 and a softmax readout of its hidden units."""
    config, device = run.config, device_of(run)
    grey, labels = flat(run.data["x_train"]).to(device), torch.from_numpy(run.data["y_train"]).long().to(device)
    targets = F.one_hot(labels, 10).float()
    machine = Machine(grey, config.hidden, 0)
    readout, bias = torch.zeros(config.hidden, 10, device=device), torch.zeros(10, device=device)
    moments = torch.zeros(config.hidden, device=device), torch.ones(config.hidden, device=device)

    def step(rows: Tensor, rate: Tensor) -> Tensor:
        hidden, error = machine.step(grey[rows], rate, 0.0)
        variance, mean = torch.var_mean(hidden, dim=0, correction=0)
        moments[0].lerp_(mean, 0.01)
        moments[1].lerp_(variance, 0.01)
        features = (hidden - mean) * torch.rsqrt(variance + 1e-3)
        difference = (targets[rows] - torch.softmax(features @ readout + bias, dim=1)) * (rate / len(rows))
        readout.addmm_(features.T, difference)
        bias.add_(difference.sum(dim=0))
        return error

    step = torch.compile(step) if "compiled" in run.option else step
    rates, at = cosine_rates(config.learning_rate, run.cosine, device), 0
    for _ in range(run.gate.epochs):
        total = torch.zeros((), device=device)
        for rows in order(len(grey), config.batch_size, device):
            total += step(rows, rates[at])
            at += 1
        run.gate(total.item() / run.steps)
    test = flat(run.data["x_test"]).to(device)
    hidden = machine.hidden(test)
    classes = ((hidden - moments[0]) * torch.rsqrt(moments[1] + 1e-3) @ readout + bias).argmax(dim=1)
    return {
        "test accuracy": float((classes.cpu().numpy() == run.data["y_test"]).mean()),
        "reconstruction error": float(F.mse_loss(machine.shown(hidden), test)),
    }


def dbn(run: Run) -> dict[str, float]:
    """Pretrain a stack of machines and fine-tune it, whole, in each round."""
    config, device = run.config, device_of(run)
    labels = F.one_hot(torch.from_numpy(run.data["y_train"]).long(), 10).float().to(device)
    for _ in range(run.gate.epochs):
        visible, layers = flat(run.data["x_train"]).to(device), list[nn.Module]([nn.Dropout(config.input_dropout)])
        for depth, units in enumerate(config.hidden, start=1):
            pixels = visible.shape[1]
            last = depth == len(config.hidden)
            visible = torch.cat([visible, labels], dim=1) if last else visible
            machine = pretrained(run, visible, units, labels.shape[1] if last else 0)
            layer = nn.Linear(pixels, units)
            layer.weight.data, layer.bias.data = machine.weights[:pixels].T.contiguous(), machine.hidden_bias
            layers += [layer, nn.Sigmoid(), nn.Dropout(config.dropout)]
            visible = machine.hidden(visible) if not last else visible
        output = nn.Linear(config.hidden[-1], 10)
        output.weight.data, output.bias.data = machine.weights[-10:].contiguous(), machine.visible_bias[-10:]
        network = nn.Sequential(*layers, output)
        run.gate(fit(run, network, flat, F.cross_entropy, job=True))
    return accuracy(run, network, flat)


@torch.no_grad()
def pretrained(run: Run, visible: Tensor, units: int, labels: int) -> Machine:
    """Return a machine that has learned `visible` (examples, visible)."""
    config, machine = run.config, Machine(visible, units, labels)
    steps = config.pretraining * (len(visible) // config.batch_size)
    rates, at = cosine_rates(config.pretraining_rate, steps, visible.device), 0
    step = torch.compile(machine.step) if "compiled" in run.option else machine.step
    for _ in range(config.pretraining):
        for rows in order(len(visible), config.batch_size, visible.device):
            step(visible[rows], rates[at], config.momentum)
            at += 1
    return machine


class Machine:
    """A restricted Boltzmann machine, with a softmax group of `labels` units at the end of the visible ones."""

    def __init__(self, visible: Tensor, hidden: int, labels: int) -> None:
        device = visible.device
        share = visible.mean(dim=0).clamp(1e-3, 1 - 1e-3)
        self.labels, self.weights = labels, 0.01 * torch.randn(visible.shape[1], hidden, device=device)
        self.visible_bias, self.hidden_bias = torch.logit(share), torch.zeros(hidden, device=device)
        self.velocity = [torch.zeros_like(part) for part in (self.weights, self.visible_bias, self.hidden_bias)]

    def hidden(self, visible: Tensor) -> Tensor:
        """Return the probabilities of the hidden units."""
        return torch.sigmoid(torch.addmm(self.hidden_bias, visible, self.weights))

    def shown(self, hidden: Tensor) -> Tensor:
        """Return the probabilities of the visible units."""
        field = torch.addmm(self.visible_bias, hidden, self.weights.T)
        if not self.labels:
            return torch.sigmoid(field)
        return torch.cat([torch.sigmoid(field[:, : -self.labels]), field[:, -self.labels :].softmax(dim=1)], dim=1)

    def draw(self, probability: Tensor) -> Tensor:
        """Draw visible units."""
        if not self.labels:
            return torch.bernoulli(probability)
        label = torch.multinomial(probability[:, -self.labels :], 1)[:, 0]
        pixels = torch.bernoulli(probability[:, : -self.labels])
        return torch.cat([pixels, F.one_hot(label, self.labels).float()], dim=1)

    def step(self, grey: Tensor, rate: Tensor, momentum: float) -> tuple[Tensor, Tensor]:
        """Learn from a batch; return its hidden units and its reconstruction error."""
        data = torch.bernoulli(grey)
        hidden = self.hidden(data)
        shown = self.shown(torch.bernoulli(hidden))
        sample = self.draw(shown)
        sampled_hidden = self.hidden(sample)
        size = rate / len(grey)
        steps = (
            torch.addmm(data.T @ hidden, sample.T, sampled_hidden, alpha=-1),
            (data - sample).sum(dim=0),
            (hidden - sampled_hidden).sum(dim=0),
        )
        parts = (self.weights, self.visible_bias, self.hidden_bias)
        for part, velocity, change in zip(parts, self.velocity, steps, strict=True):
            if momentum:
                velocity.mul_(momentum).add_(change * size)
                part.add_(velocity)
            else:
                part.add_(change * size)
        return hidden, F.mse_loss(shown, grey)


class LeNet5(nn.Module):
    """The network of 1998. Scores of ten classes and of "none of these"."""

    def __init__(self, table: Tensor, codes: Tensor, rubbish: float) -> None:
        super().__init__()
        self.c1, self.c3 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.c5, self.f6 = nn.Linear(400, 120), nn.Linear(120, 84)
        fans = 25.0, 25 * float(table.sum()) / 16, 400.0, 120.0
        layers: list[Any] = [self.c1, self.c3, self.c5, self.f6]
        for layer, fan_in in zip(layers, fans, strict=True):
            nn.init.uniform_(layer.weight, -2.4 / fan_in, 2.4 / fan_in)
            nn.init.zeros_(layer.bias)
        self.scale2, self.scale4 = (nn.Parameter(torch.empty(maps, 1, 1).uniform_(-0.6, 0.6)) for maps in (6, 16))
        self.bias2, self.bias4 = (nn.Parameter(torch.zeros(maps, 1, 1)) for maps in (6, 16))
        self.table = nn.Buffer(table.T[:, :, None, None].contiguous())
        self.codes = nn.Buffer(codes)
        self.rubbish = rubbish

    def forward(self, x: Tensor) -> Tensor:
        x = squash(self.c1(x))
        x = squash(4 * F.avg_pool2d(x, 2) * self.scale2 + self.bias2)
        x = squash(F.conv2d(x, self.c3.weight * self.table, self.c3.bias))
        x = squash(4 * F.avg_pool2d(x, 2) * self.scale4 + self.bias4)
        x = squash(self.f6(squash(self.c5(x.flatten(1)))))
        scores = -(x[:, None] - self.codes).square().sum(dim=-1)
        return F.pad(scores, (0, 1), value=-self.rubbish)


def squash(x: Tensor) -> Tensor:
    """Return 1.7159 tanh(2x/3)."""
    return 1.7159 * torch.tanh(2 / 3 * x)


class RowReader(nn.Module):
    """An LSTM over the rows of an image."""

    def __init__(self, units: int, dropout: float) -> None:
        super().__init__()
        self.lstm = keras_lstm(nn.LSTM(28, units, batch_first=True))
        self.dropout, self.output = nn.Dropout(dropout), glorot(nn.Linear(units, 10))

    def forward(self, x: Tensor) -> Tensor:
        _, (state, _) = self.lstm(x)
        return self.output(self.dropout(state[-1]))


class SentenceReader(nn.Module):
    """A bidirectional LSTM over the words of a sentence; 0 is padding."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary + 2, config.embedding)
        nn.init.uniform_(self.embedding.weight, -0.05, 0.05)
        self.lstm = keras_lstm(nn.LSTM(config.embedding, config.units, batch_first=True, bidirectional=True))
        self.before, self.after = nn.Dropout(config.word_dropout), nn.Dropout(config.dropout)
        self.output = glorot(nn.Linear(2 * config.units, 2))

    def forward(self, words: Tensor) -> Tensor:
        lengths = (words > 0).sum(dim=1).clamp(min=1).cpu()
        embedded = self.before(self.embedding(words))
        packed = nn.utils.rnn.pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        _, (state, _) = self.lstm(packed)
        return self.output(self.after(state.transpose(0, 1).flatten(1)))


class Forecaster(nn.Module):
    """An LSTM over a window of a series, in the scale of square roots."""

    def __init__(self, units: int, mean: float, deviation: float) -> None:
        super().__init__()
        self.lstm, self.output = keras_lstm(nn.LSTM(1, units, batch_first=True)), glorot(nn.Linear(units, 1))
        self.mean, self.deviation = mean, deviation

    def forward(self, window: Tensor) -> Tensor:
        x = (window.sqrt() - self.mean) / self.deviation
        last = x[:, -1:]
        _, (state, _) = self.lstm(x - last)
        x = self.output(state[-1])[:, None] + last
        return (x * self.deviation + self.mean).clamp(min=0).square()


class AlexNet(nn.Module):
    """AlexNet with the augmentation of its paper."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        config = run.config
        self.size, self.pixels = config.image_size, round(config.image_size * 256 / 227)
        width = [round(config.width * maps / 2) * 2 for maps in (96, 256, 384, 384, 256, 4096)]
        stride = max(1, round(4 * config.image_size / 227))
        padding = 0 if config.image_size >= 227 else stride + 1
        self.conv1 = nn.Conv2d(3, width[0], 2 * stride + 3, stride, padding)
        self.conv2 = nn.Conv2d(width[0], width[1], 5, padding=2, groups=config.groups)
        self.conv3 = nn.Conv2d(width[1], width[2], 3, padding=1)
        self.conv4 = nn.Conv2d(width[2], width[3], 3, padding=1, groups=config.groups)
        self.conv5 = nn.Conv2d(width[3], width[4], 3, padding=1, groups=config.groups)
        side = (self.size + 2 * padding - (2 * stride + 3)) // stride + 1
        for _ in range(3):
            side = (side - 3) // 2 + 1
        self.dense6 = nn.Linear(side * side * width[4], width[5])
        self.dense7, self.output = (
            nn.Linear(width[5], width[5]),
            nn.Linear(width[5], 1 + int(run.data["y_train"].max())),
        )
        self.dropout = nn.Dropout(config.dropout)
        children: dict[str, Any] = dict(self.named_children())
        for name, layer in children.items():
            if name != "dropout":
                nn.init.normal_(layer.weight, std=0.01 / config.width**0.5)
                bias = float(name in ("conv2", "conv4", "conv5", "dense6", "dense7"))
                nn.init.constant_(layer.bias, bias)
        values, vectors = np.linalg.eigh(run.data["covariance"])
        self.components = nn.Buffer(torch.tensor((vectors * values).T * 255, dtype=torch.float32))
        self.mean = nn.Buffer(torch.tensor(run.data["mean"], dtype=torch.float32)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] != self.pixels:
            x = F.interpolate(x, (self.pixels, self.pixels), mode="bilinear")
        x = self.augmented(x - self.mean) if self.training else self.centre(x - self.mean)
        x = F.max_pool2d(F.local_response_norm(F.relu(self.conv1(x)), 5, 5e-4, 0.75, 2.0), 3, 2)
        x = F.max_pool2d(F.local_response_norm(F.relu(self.conv2(x)), 5, 5e-4, 0.75, 2.0), 3, 2)
        x = F.relu(self.conv4(F.relu(self.conv3(x))))
        x = F.max_pool2d(F.relu(self.conv5(x)), 3, 2).flatten(1)
        x = self.dropout(F.relu(self.dense7(self.dropout(F.relu(self.dense6(x))))))
        return self.output(x)

    def augmented(self, x: Tensor) -> Tensor:
        """Return a random patch of each image, half of them mirrored, with a shift of the colours."""
        batch, free, device = len(x), self.pixels - self.size + 1, x.device
        place = torch.arange(self.size, device=device)
        rows = torch.randint(free, (batch, 1), device=device) + place
        columns = torch.randint(free, (batch, 1), device=device) + place
        columns = torch.where(torch.rand(batch, 1, device=device) < 0.5, columns.flip(1), columns)
        x = x[torch.arange(batch, device=device)[:, None, None], :, rows[:, :, None], columns[:, None]]
        shift = (0.1 * torch.randn(batch, 3, device=device)) @ self.components
        return (x + shift[:, None, None]).permute(0, 3, 1, 2)

    def centre(self, x: Tensor) -> Tensor:
        """Return the patch in the middle of each image."""
        start = (self.pixels - self.size) // 2
        return x[:, :, start : start + self.size, start : start + self.size]


def he_normal(layer: Any) -> Any:
    """Give a layer Keras's `he_normal` weights, normal ones within two standard deviations, and biases of 0."""
    deviation = (2 / layer.weight[0].numel()) ** 0.5 / 0.8796
    nn.init.trunc_normal_(layer.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def glorot(layer: Any) -> Any:
    """Give a layer Keras's default weights."""
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def normalization(layer: Any) -> Any:
    """Give a batch normalisation Keras's constants."""
    layer.eps, layer.momentum = 1e-3, 0.01
    return layer


def keras_lstm(lstm: nn.LSTM) -> nn.LSTM:
    """Give an LSTM Keras's default weights: orthogonal recurrent ones, and a forget bias of 1."""
    for name, weight in lstm.named_parameters():
        if name.startswith("weight_ih"):
            nn.init.xavier_uniform_(weight)
        elif name.startswith("weight_hh"):
            nn.init.orthogonal_(weight)
        else:
            nn.init.zeros_(weight)
        if name.startswith("bias_ih"):
            weight.data[lstm.hidden_size : 2 * lstm.hidden_size] = 1
    return lstm


def flat(images: Array) -> Tensor:
    """Return images of bytes as numbers in [0, 1], (images, 784)."""
    return torch.from_numpy(images).flatten(1).float() / 255


def maps(images: Array) -> Tensor:
    """Return images of bytes as numbers in [0, 1], (images, 1, 28, 28)."""
    return torch.from_numpy(images)[:, None].float() / 255


def device_of(run: Run) -> torch.device:
    """Return the device of a run."""
    return torch.device("cuda" if "cuda" in run.option else "cpu")


def cosine_rates(rate: float, steps: int, device: torch.device) -> Tensor:
    """Return a learning rate for each step, along half a cosine."""
    return rate / 2 * (1 + torch.cos(torch.pi * torch.arange(steps, device=device) / steps))


def order(examples: int, batch: int, device: torch.device) -> Tensor:
    """Return random rows for each step, (steps, batch)."""
    steps = max(1, examples // batch)
    return torch.randperm(examples, device=device)[: steps * batch].view(steps, -1)


def classify(run: Run, network: nn.Module, inputs: Callable[[Array], Tensor]) -> dict[str, float]:
    """Train a classifier and return its test accuracy."""
    fit(run, network, inputs, F.cross_entropy)
    return accuracy(run, network, inputs)


def fit(run: Run, network: nn.Module, inputs: Callable[[Array], Tensor], loss: Loss, job: bool = False) -> float:
    """Train for the epochs of the gate, or for a `job` for those of the settings, and return the last mean loss."""
    config, device = run.config, device_of(run)
    network.to(device).train()
    x, y = inputs(run.data["x_train"]).to(device), torch.from_numpy(run.data["y_train"]).to(device)
    y = y.long() if y.dtype == torch.int32 else y
    if "channels_last" in run.option and x.ndim == 4:
        network = network.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    optimizer: torch.optim.Optimizer
    if config.optimizer == "momentum":
        weights = [part for name, part in network.named_parameters() if name.endswith("weight")]
        biases = [part for name, part in network.named_parameters() if not name.endswith("weight")]
        groups = [{"params": weights, "weight_decay": config.weight_decay}, {"params": biases}]
        optimizer = torch.optim.SGD(groups, config.learning_rate, config.momentum, fused=True)
    else:
        optimizer = torch.optim.Adam(network.parameters(), config.learning_rate, eps=1e-7, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, run.cosine) if run.cosine else None
    precision = torch.autocast(device.type, torch.bfloat16, enabled="bfloat16" in run.option)

    def forward(inputs: Tensor, targets: Tensor) -> Tensor:
        with precision:
            return loss(network(inputs), targets)

    step = torch.compile(forward) if "compiled" in run.option else forward
    for _ in range(config.epochs if job else run.gate.epochs):
        total = torch.zeros((), device=device)
        for rows in order(len(x), config.batch_size, device):
            value = step(x[rows], y[rows])
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            optimizer.step()
            if schedule:
                schedule.step()
            total += value.detach()
        mean = total.item() / run.steps
        if not job:
            run.gate(mean)
    return mean


@torch.no_grad()
def outputs(run: Run, network: nn.Module, inputs: Tensor) -> Array:
    """Return the network's outputs outside training."""
    network.eval()
    parts = [network(part.to(device_of(run))).cpu() for part in inputs.split(1000)]
    return np.asarray(torch.cat(parts).numpy())


def accuracy(run: Run, network: nn.Module, inputs: Callable[[Array], Tensor]) -> dict[str, float]:
    """Return the test accuracy; a class "none of these" after the others is never the answer."""
    scores = outputs(run, network, inputs(run.data["x_test"]))
    classes = scores[:, : 1 + run.data["y_test"].max()].argmax(axis=1)
    return {"test accuracy": float((classes == run.data["y_test"]).mean())}
