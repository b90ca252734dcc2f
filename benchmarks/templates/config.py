"""The config of the template of a study, on scikit-learn's handwritten digits.

    python -m benchmarks.templates.study --config benchmarks/templates/config.py

Say here how long it takes and what accuracy to expect: about a minute on two cores.
"""

import ml_collections

from benchmarks.templates.study import TemplateSettings


def get_config() -> ml_collections.ConfigDict:
    """Fields that are not set have the defaults of the settings."""
    config = TemplateSettings.config()
    config.dataset = "digits"
    config.train_examples = 300
    config.seeds = 3
    config.epochs = 20
    config.batch = 50
    config.weight_decay = 0.0
    return config
