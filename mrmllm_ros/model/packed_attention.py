# SPDX-License-Identifier: Apache-2.0
"""Attention masks for several texts in one row, which share the tokens before them."""

from __future__ import annotations

import torch

# Segment ids of tokens that every text attends to, and of padding.
SHARED, PADDING = -2, -1


def visible_tokens(segment_ids: torch.Tensor) -> torch.Tensor:
    """Causal attention mask within each text and to shared tokens.

    Args:
        segment_ids: (B, N) int64 index of the text that each token belongs to, or `SHARED` or
            `PADDING`.

    Returns:
        (B, N, N) bool. The number of visible tokens before a token is its position.
    """
    rows, columns = segment_ids[:, :, None], segment_ids[:, None, :]
    length = segment_ids.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=segment_ids.device).tril()
    return causal & ((rows == columns) | (columns == SHARED)) & (columns != PADDING)


def additive_mask(visible: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Additive mask (B, 1, N, M) of a (B, N, M) bool mask, for `transformers`."""
    zero = torch.zeros((), dtype=dtype, device=visible.device)
    return torch.where(visible, zero, torch.finfo(dtype).min)[:, None]
