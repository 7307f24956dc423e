"""The foreign modules, written anew from their equations, to be converted and compared with."""

import torch
from torch import nn


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
