"""Online log mel filter banks and CMVN, as fairseq's speech agent makes them of torchaudio's kaldi.fbank.

It needs no torchaudio: it has the same operations in PyTorch, from the formulas in tests/golden/speech/README.md.
"""


import torch
import torch.nn.functional as F
from torch import Tensor

SAMPLE_RATE = 16000
FRAME, SHIFT = 400, 160  # Samples: 25 and 10 ms.
FFT = 512
MEL_BINS = 80
PREEMPHASIS = 0.97
LEAST = 2.0 ** -23  # The least energy, a constant of kaldi.


def mel(frequency: Tensor) -> Tensor:
    return 1127 * torch.log(1 + frequency / 700)


def mel_banks() -> Tensor:
    """Triangles between 20 Hz and half the sample rate, [80, FFT / 2 + 1]."""
    low, high = mel(torch.tensor([20.0, SAMPLE_RATE / 2]))
    step = (high - low) / (MEL_BINS + 1)
    left = (low + step * torch.arange(MEL_BINS)).unsqueeze(1)
    at = mel(torch.arange(FFT // 2) * (SAMPLE_RATE / FFT)).unsqueeze(0)
    triangles = torch.minimum((at - left) / step, (left + 2 * step - at) / step).clamp_min(0)
    return F.pad(triangles, (0, 1))


class FeatureExtractor:
    """Features of one recording. Samples that fill no frame yet are kept."""

    def __init__(self, mean: Tensor, std: Tensor):
        self._mean, self._std = mean, std
        self._banks = mel_banks()
        self._window = torch.hann_window(FRAME, periodic=False).pow(0.85)
        self._rest = torch.empty(0)

    def __call__(self, samples: Tensor) -> Tensor | None:  # [n] -> [frames, 80]
        samples = torch.cat([self._rest, samples])
        frames = (samples.numel() - FRAME + SHIFT) // SHIFT if samples.numel() >= FRAME else 0
        self._rest = samples[frames * SHIFT:]
        if frames == 0:
            return None
        x = samples[:frames * SHIFT + FRAME - SHIFT].unfold(0, FRAME, SHIFT)
        x = x - x.mean(dim=1, keepdim=True)
        x = x - PREEMPHASIS * F.pad(x.unsqueeze(0), (1, 0), mode="replicate").squeeze(0)[:, :-1]
        power = torch.fft.rfft(F.pad(x * self._window, (0, FFT - FRAME))).abs().pow(2)
        energy = torch.mm(power, self._banks.T).clamp_min(LEAST)
        return (energy.log() - self._mean) / self._std


def noise(milliseconds: int, generator: torch.Generator) -> Tensor:
    """Samples as loud as speech; their values do not change the computation."""
    return torch.randn(milliseconds * SAMPLE_RATE // 1000, generator=generator) * 1000
