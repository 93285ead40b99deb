# SPDX-License-Identifier: Apache-2.0
"""T5's tasks, as values of `TaskConfig` on TFDS datasets: `t5x_lite.tasks.glue:COLA`.

A task reads one version of a dataset, prepared beforehand as array_record files, for example with
`tfds.text.glue.Glue(config="cola", file_format="array_record").download_and_prepare()`. TFDS needs TensorFlow to
prepare some datasets, SuperGLUE among them, but never to read them. The versions are T5's, except where TFDS has since
replaced them, as noted in the modules.
"""
