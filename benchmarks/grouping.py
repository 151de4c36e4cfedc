"""Cluster digits into ten groups with k-means, on pixels and on features that are learned without labels.

    python -m benchmarks.grouping

The features are the outputs of the first and of the last machine of the deep belief network; they are grouped as by
`python -m apps.dbn group --groups 10`. Labels only score the groups: the adjusted Rand index and the normalised mutual
information of groups and labels are 1 if both agree and near 0 if the groups are random.
"""

import statistics

import tyro
from rich.console import Console
from rich.table import Table
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from apps import dbn
from common import training
from common.explain.clusters import cluster
from common.nn.rbm import visible_units
from common.preprocessing import datasets

import keras  # isort: skip - deferred by `common`

SEEDS = (0, 1, 2)


def main(pretraining: int = 20) -> None:
    """Learn the features from the training set and cluster the 10,000 test images.

    Args:
        pretraining: Passes over the training set for each machine.
    """
    # `labelled` is at least 1; no label is used here.
    config = dbn.Settings(pretraining=pretraining, labelled=1)
    data = dbn.load_data(config)
    model = dbn.build_model(config, data)
    list(training.pretrain(dbn.app, model, config, data))
    images, labels = datasets.load("mnist").test
    shown = {"pixels": visible_units(model, "hidden_1", images)}
    for name, depth in (("restricted Boltzmann machine", 1), ("deep belief network", len(config.hidden))):
        features = keras.Model(model.inputs, model.get_layer(f"hidden_{depth}").output)
        shown[name] = features.predict(images, verbose=0)
    table = Table("k-means on", "adjusted Rand index", "mutual information", title=f"means of {len(SEEDS)} seeds")
    for name, features in shown.items():
        found = [cluster(features, 10, seed).of for seed in SEEDS]
        scores = [
            statistics.fmean(score(labels, one) for one in found)
            for score in (adjusted_rand_score, normalized_mutual_info_score)
        ]
        table.add_row(name, *(f"{score:.3f}" for score in scores))
    Console().print(table)


if __name__ == "__main__":
    tyro.cli(main)
