"""The modules of Hugging Face's Whisper that are sites of ours.

The names are those within `WhisperForConditionalGeneration`.
"""

import re
from collections import abc

# By the name of a projection within a block, its module within a layer.
_PROJECTIONS = {
    "attention/query": "self_attn.q_proj",
    "attention/key": "self_attn.k_proj",
    "attention/value": "self_attn.v_proj",
    "attention/output": "self_attn.out_proj",
    "source_attention/query": "encoder_attn.q_proj",
    "source_attention/key": "encoder_attn.k_proj",
    "source_attention/value": "encoder_attn.v_proj",
    "source_attention/output": "encoder_attn.out_proj",
    "feed_forward/expand": "fc1",
    "feed_forward/contract": "fc2",
}
_SITE = re.compile(r"(encoder|decoder)/block_(\d+)/(.+)")


def by_site(site_names: abc.Iterable[str]) -> dict[str, str]:
    """The module of each site that is a projection, by the site's name.

    Such as `model.encoder.layers.2.self_attn.q_proj` by
    `encoder/block_02/attention/query`.
    """
    modules = {}
    for name in site_names:
        found = _SITE.fullmatch(name)
        if found and found[3] in _PROJECTIONS:
            modules[name] = (
                f"model.{found[1]}.layers.{int(found[2])}."
                f"{_PROJECTIONS[found[3]]}"
            )
    return modules
