# SPDX-License-Identifier: Apache-2.0
"""WMT as text: `translate English to German: That is good.` -> `Das ist gut.`

T5 translates only from English. Its multi-task mixture contains WMT_T2T_EN_DE, WMT15_EN_FR and WMT16_EN_RO.

Source: T5 `preprocessors.translate`, `tasks.py`.
"""

from t5x_lite.config import TaskConfig
from t5x_lite.tasks.formats import from_tfds

VERSION = "1.0.0"
LANGUAGES = {"de": "German", "fr": "French", "ro": "Romanian"}


def _from_english(dataset: str, code: str) -> TaskConfig:
    return from_tfds(
        f"{dataset}/{code}-en:{VERSION}",
        inputs=f"translate English to {LANGUAGES[code]}: {{en}}",
        targets=f"{{{code}}}",
        metrics=("bleu",),
    )


WMT14_EN_DE = _from_english("wmt14_translate", "de")
WMT14_EN_FR = _from_english("wmt14_translate", "fr")
WMT15_EN_FR = _from_english("wmt15_translate", "fr")
WMT16_EN_RO = _from_english("wmt16_translate", "ro")
WMT19_EN_DE = _from_english("wmt19_translate", "de")
WMT_T2T_EN_DE = _from_english("wmt_t2t_translate", "de")
