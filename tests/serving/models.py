"""Small models and servers that the tests of serving share."""

import dataclasses
import functools
import queue

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.config.commands import ServeConfig
from t5x_lite.config.generation import GenerationConfig
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.inference.engine import Request, answer_batch
from t5x_lite.model.architectures import Architecture
from t5x_lite.model.decoder import Decoder
from t5x_lite.model.encoder import Encoder, MaskedLM
from t5x_lite.model.transformer import T5
from t5x_lite.serving.batch import Job
from tests import tiny

CFG = dataclasses.replace(tiny.T5_1_1, vocab_size=384)
KINDS = {"encoder_decoder": T5, "causal_lm": Decoder, "masked_lm": MaskedLM, "encoder": Encoder}
TOKENIZER = ByteTokenizer(100)
SECONDS = 60  # that a test waits before it fails


@functools.cache
def pretrained(name: str = "encoder_decoder") -> Pretrained:
    # Of this seed, different texts have different answers, few of them short.
    return Pretrained(tiny.drawn(KINDS[name], CFG, seed=2), TOKENIZER, CFG, 7, Architecture(name))


def options(**fields) -> ServeConfig:
    return ServeConfig(**{"checkpoint": "run", "port": 0, "batch_size": 4, "warm_up_tokens": 0} | fields)


def alone(text: str, **settings) -> str:
    """What the model answers to one text that is decoded by itself."""
    request = Request(text, GenerationConfig(**settings))
    return answer_batch(pretrained(), [request], batch_size=1)[0].sequences[0].text


class Listener:
    """A job with the events it heard of."""

    def __init__(self, text: str, **settings):
        self.events: queue.Queue = queue.Queue()
        job = {name: settings.pop(name) for name in ("stream", "num_top") if name in settings}
        config = None if settings.pop("embeds", False) else GenerationConfig(**settings)
        ids = [*TOKENIZER.encode(text), TOKENIZER.eos_id]
        self.job = Job(ids=ids, notify=self.events.put, config=config, **job)

    def heard(self) -> list:
        return list(self.events.queue)

    def last(self):
        """Waits for the last event."""
        while True:
            event = self.events.get(timeout=SECONDS)
            if getattr(event, "is_last", True):
                return event

    def text(self) -> str:
        return TOKENIZER.decode(self.last().sequences[0].ids)
