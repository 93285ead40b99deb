# SPDX-License-Identifier: Apache-2.0
"""T5's tasks as `TaskConfig`s on TFDS datasets, such as `t5x_lite.tasks.glue:COLA`.

Each reads one version of a dataset, prepared beforehand as array_record files, for example with
`tfds.text.glue.Glue(config="cola", file_format="array_record").download_and_prepare()`. TFDS needs TensorFlow to
prepare some datasets, such as SuperGLUE, but never to read them. The versions are T5's unless noted otherwise.
"""
