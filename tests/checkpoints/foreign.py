"""The foreign modules, written anew from their equations, to be converted and compared with."""

import torch
from torch import nn

from psa_seg.checkpoints import convert as bridges
from psa_seg.engine import looking


def convert(order, dry_run=False):
    """As the tool does once it has read its command line."""
    return bridges.convert(order, looking.model_of, dry_run)


class Port(nn.Module):
    """The paper's equations, with the names of the popular PyTorch port."""

    def __init__(self, channels, layout):
        super().__init__()
        self.layout, inner = layout, channels // 2
        self.ch_wv, self.ch_wq = nn.Conv2d(channels, inner, 1), nn.Conv2d(channels, 1, 1)
        self.ch_wz, self.ln = nn.Conv2d(inner, channels, 1), nn.LayerNorm(channels)
        self.sp_wv, self.sp_wq = nn.Conv2d(channels, inner, 1), nn.Conv2d(channels, inner, 1)

    def channel_logits(self, z):
        return self.ln(self.ch_wz(z).flatten(1))[..., None, None]

    def spatial_logits(self, x):
        query = self.sp_wq(x).mean((2, 3)).softmax(1)
        return torch.einsum("bi,bihw->bhw", query, self.sp_wv(x))[:, None]

    def parts(self):
        return self.ch_wq, self.ch_wv

    def forward(self, x):
        query, value = self.parts()
        weights = query(x).flatten(2).softmax(2)
        z = (value(x).flatten(2) * weights).sum(2)[..., None, None]
        by_channel = x * self.channel_logits(z).sigmoid()
        if self.layout == "sequential":
            return by_channel * self.spatial_logits(by_channel).sigmoid()
        return by_channel + x * self.spatial_logits(x).sigmoid()


class Official(Port):
    """PSA_p (parallel) and PSA_s (sequential), with the names of the released code."""

    def __init__(self, channels, layout):
        nn.Module.__init__(self)
        self.layout, inner = layout, channels // 2
        self.conv_q_right = nn.Conv2d(channels, 1, 1, bias=False)
        self.conv_v_right = nn.Conv2d(channels, inner, 1, bias=False)
        self.conv_up = nn.Conv2d(inner, channels, 1, bias=False)
        if layout == "sequential":
            self.conv_up = nn.Sequential(
                nn.Conv2d(inner, inner // 4, 1),
                nn.LayerNorm([inner // 4, 1, 1]),
                nn.ReLU(),
                nn.Conv2d(inner // 4, channels, 1),
            )
        self.conv_q_left = nn.Conv2d(channels, inner, 1, bias=False)
        self.conv_v_left = nn.Conv2d(channels, inner, 1, bias=False)

    def parts(self):
        return self.conv_q_right, self.conv_v_right

    def channel_logits(self, z):
        return self.conv_up(z)

    def spatial_logits(self, x):
        mean, value = self.conv_q_left(x).mean((2, 3)), self.conv_v_left(x)
        if self.layout == "sequential":
            value = value.flatten(2).softmax(2).view_as(value)
        logits = torch.einsum("bi,bihw->bhw", mean, value)[:, None]
        if self.layout == "parallel":
            logits = logits.flatten(2).softmax(2).view_as(logits)
        return logits


def randomize(module):
    """Every tensor anything but its start, variances above 0; in float64."""
    for name, tensor in module.double().state_dict().items():
        if tensor.is_floating_point():
            tensor.normal_(std=0.3)
            if name.endswith("running_var"):
                tensor.abs_().add_(0.5)
    return module


def conv_norm(inputs, outputs, size, stride=1, groups=1):
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6())


class InvertedResidual(nn.Module):
    """A block of torchvision's MobileNetV2."""

    def __init__(self, inputs, outputs, stride, widen):
        super().__init__()
        inner = inputs * widen
        self.conv = nn.Sequential(
            *([conv_norm(inputs, inner, 1)] if widen > 1 else []),
            conv_norm(inner, inner, 3, stride, groups=inner),
            *conv_norm(inner, outputs, 1)[:2],
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """torchvision's, by table 2 of arXiv 1801.04381."""

    def __init__(self):
        super().__init__()
        layers, width = [conv_norm(3, 32, 3, stride=2)], 32
        widths, counts, strides = (
            (16, 24, 32, 64, 96, 160, 320),
            (1, 2, 3, 4, 3, 3, 1),
            (1, 2, 2, 2, 1, 2, 1),
        )
        for outputs, count, stride in zip(widths, counts, strides, strict=True):
            for i in range(count):
                widen = 1 if len(layers) == 1 else 6
                layers.append(InvertedResidual(width, outputs, stride if i == 0 else 1, widen))
                width = outputs
        self.features = nn.Sequential(*layers, conv_norm(320, 1280, 1))
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(1280, 10))

    def forward(self, x):
        """The map that a backbone ends with."""
        return self.features[:-1](x)
